'use strict';

// rabbitmq-client: a client that shares no code with amqplib.

const {Connection, ConsumerStatus} = require('rabbitmq-client');
const {amqpURL, assert, check, main, name, until} = require('./check');

async function connected(work) {
  const rabbit = new Connection({url: amqpURL, retryLow: 100});
  rabbit.on('error', () => {});
  try {
    await rabbit.onConnect(10000);
    await work(rabbit);
  } catch (error) {
    rabbit.unsafeDestroy(); // close would wait for what is open
    throw error;
  }
  await rabbit.close();
}

check('a publisher with confirms and a consumer by a topic exchange', () => connected(async rabbit => {
  const queue = name('events'), exchange = name('events');
  const got = [];
  const consumer = rabbit.createConsumer({queue, queueOptions: {durable: true}, qos: {prefetchCount: 2},
    exchanges: [{exchange, type: 'topic'}], queueBindings: [{exchange, routingKey: 'users.*'}]},
  async message => { got.push([message.routingKey, message.body, message.contentType]); });
  await new Promise(resolve => consumer.once('ready', resolve));
  const publisher = rabbit.createPublisher({confirm: true, maxAttempts: 2, exchanges: [{exchange, type: 'topic'}]});
  await publisher.send({exchange, routingKey: 'users.visit'}, {id: 1, name: 'Alan'});
  await publisher.send({exchange, routingKey: 'orders.made'}, {id: 2});
  await publisher.send({exchange, routingKey: 'users.leave', durable: true}, 'text');
  await publisher.send(queue, Buffer.from([1, 2, 3]));
  await until(() => got.length === 3, 'three messages');
  assert.deepEqual(got.slice(0, 2), [['users.visit', {id: 1, name: 'Alan'}, 'application/json'], ['users.leave', 'text', 'text/plain']]);
  assert.deepEqual([...got[2][1]], [1, 2, 3]);
  await publisher.close();
  await consumer.close();
  await rabbit.queueDelete(queue);
  await rabbit.exchangeDelete({exchange});
}));

check('what nobody is bound for comes back', () => connected(async rabbit => {
  const returned = [];
  const publisher = rabbit.createPublisher({confirm: true});
  publisher.on('basic.return', message => returned.push([message.replyCode, message.replyText, message.body]));
  await publisher.send({routingKey: name('nowhere'), mandatory: true}, 'x');
  await until(() => returned.length === 1, 'the return');
  assert.deepEqual(returned, [[312, 'NO_ROUTE', 'x']]);
  await publisher.close();
}));

check('requeue, reject and dead letters', () => connected(async rabbit => {
  const queue = name('work'), dead = name('dead');
  await rabbit.queueDeclare({queue: dead, durable: true});
  let tries = 0;
  const consumer = rabbit.createConsumer({queue, requeue: false, queueOptions: {durable: true,
    arguments: {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead}}}, async message => {
    if (message.body === 'again' && tries++ < 2) return ConsumerStatus.REQUEUE;
    if (message.body === 'bad') throw new Error('cannot do that');
    return message.body === 'drop' ? ConsumerStatus.DROP : ConsumerStatus.ACK;
  });
  consumer.on('error', () => {}); // what the handler throws
  await new Promise(resolve => consumer.once('ready', resolve));
  const publisher = rabbit.createPublisher({confirm: true});
  for (const body of ['again', 'bad', 'drop', 'good']) await publisher.send(queue, body);
  await until(async () => (await rabbit.queueDeclare({queue: dead, passive: true})).messageCount === 2, 'two dead letters');
  for (const body of ['bad', 'drop']) {
    const message = await rabbit.basicGet({queue: dead, noAck: true});
    assert.equal(message.body, body);
    const [death] = message.headers['x-death'];
    assert.deepEqual([death.reason, death.queue, death.count, death['routing-keys']], ['rejected', queue, 1, [queue]]);
  }
  assert.equal(tries, 3);
  await publisher.close();
  await consumer.close();
  assert.equal((await rabbit.queueDelete(queue)).messageCount, 0);
  await rabbit.queueDelete(dead);
}));

check('remote procedure calls', () => connected(async rabbit => {
  const queue = name('rpc');
  const server = rabbit.createConsumer({queue, queueOptions: {autoDelete: true}}, async (request, reply) => { await reply(request.body * 2); });
  await new Promise(resolve => server.once('ready', resolve));
  const client = rabbit.createRPCClient({confirm: true});
  assert.equal((await client.send(queue, 21)).body, 42);
  const answers = await Promise.all([...Array(100).keys()].map(n => client.send(queue, n)));
  assert.deepEqual(answers.map(a => a.body), [...Array(100).keys()].map(n => n * 2));
  await client.close();
  await server.close();
}));

check('channels: transactions, get, nack, headers of every type', () => connected(async rabbit => {
  const ch = await rabbit.acquire();
  const {queue} = await ch.queueDeclare({exclusive: true});
  await ch.txSelect();
  await ch.basicPublish({routingKey: queue}, 'gone');
  await ch.txRollback();
  const headers = {s: 'text', n: 7, big: 2 ** 40, f: 1.5, yes: true, nothing: null, list: [1, 'two'], table: {deep: {er: 'x'}}};
  await ch.basicPublish({routingKey: queue, headers, priority: 3, messageId: 'm', expiration: '60000', timestamp: 1700000001, type: 't', userId: 'guest', appId: 'a'}, 'kept');
  await ch.txCommit();
  const message = await ch.basicGet(queue);
  assert.equal(message.body, 'kept');
  assert.equal(message.messageCount, 0);
  assert.deepEqual({...message.headers}, headers);
  assert.deepEqual([message.priority, message.messageId, message.expiration, message.timestamp, message.type, message.userId, message.appId],
    [3, 'm', '60000', 1700000001, 't', 'guest', 'a']);
  ch.basicNack({deliveryTag: message.deliveryTag, requeue: true});
  await ch.txCommit();
  const again = await ch.basicGet(queue);
  assert.equal(again.redelivered, true);
  ch.basicAck({deliveryTag: again.deliveryTag});
  await ch.txCommit();
  assert.equal(await ch.basicGet(queue), undefined);
  await ch.close();
}));

check('errors: a channel ends, the connection goes on', () => connected(async rabbit => {
  await assert.rejects(rabbit.queueDeclare({queue: name('missing'), passive: true}), error => error.code === 'NOT_FOUND');
  const queue = name('strict');
  await rabbit.queueDeclare({queue, durable: true});
  await assert.rejects(rabbit.queueDeclare({queue, durable: true, arguments: {'x-max-length': 5}}), error => error.code === 'PRECONDITION_FAILED');
  await rabbit.queueDelete(queue);
}));

check('consumer and publisher come back after a lost connection', () => connected(async rabbit => {
  const queue = name('lost');
  const got = [];
  const consumer = rabbit.createConsumer({queue, queueOptions: {durable: true}}, async message => { got.push(message.body); });
  consumer.on('error', () => {});
  await new Promise(resolve => consumer.once('ready', resolve));
  const publisher = rabbit.createPublisher({confirm: true, maxAttempts: 5});
  publisher.on('retry', () => {});
  await publisher.send(queue, 'before');
  rabbit._socket.destroy(new Error('lost on purpose'));
  await publisher.send(queue, 'after');
  await until(() => got.includes('before') && got.includes('after'), 'both messages');
  await publisher.close();
  await consumer.close();
  await rabbit.queueDelete(queue);
}));

main();
