'use strict';

// amqplib: the calls of RabbitMQ's JavaScript tutorials.

const amqp = require('amqplib');
const {amqpURL, assert, check, main, name, sleep, until} = require('./check');

const QUORUM = {durable: true, arguments: {'x-queue-type': 'quorum'}};

// A connection whose 'error' events are kept instead of ending the program.
async function connect() {
  const connection = await amqp.connect(amqpURL);
  connection.on('error', () => {});
  return connection;
}

// Collects a queue's messages in an array; resolves once the consumer is there.
async function collect(channel, queue, options) {
  const got = [];
  const {consumerTag} = await channel.consume(queue, message => got.push(message), options);
  return {got, stop: () => channel.cancel(consumerTag)};
}

const bodies = messages => messages.map(m => m.content.toString());

check('tutorial 1, hello world', async () => {
  const connection = await connect();
  const ch = await connection.createChannel();
  for (const options of [{durable: false}, QUORUM]) {
    const queue = name(`hello-${options.durable}`);
    await ch.assertQueue(queue, options);
    ch.sendToQueue(queue, Buffer.from('Hello World!'));
    const {got, stop} = await collect(ch, queue, {noAck: true});
    await until(() => got.length === 1, 'the message');
    assert.deepEqual(bodies(got), ['Hello World!']);
    await stop();
    await ch.deleteQueue(queue);
  }
  await connection.close();
});

check('tutorial 2, work queues; a worker dies', async () => {
  const queue = name('task_queue');
  const boss = await connect();
  const ch = await boss.createChannel();
  await ch.assertQueue(queue, QUORUM);
  for (let i = 0; i < 10; i++) ch.sendToQueue(queue, Buffer.from(`task ${i}`), {persistent: true});

  const doomed = await connect();
  const dying = await doomed.createChannel();
  await dying.prefetch(1);
  const {got: taken} = await collect(dying, queue, {noAck: false});
  await until(() => taken.length === 1, 'the first task');
  doomed.connection.stream.destroy(); // gone without a word
  await until(async () => (await ch.checkQueue(queue)).messageCount === 10, 'the task to come back');

  const done = [];
  const workers = await Promise.all([1, 2].map(async number => {
    const connection = await connect();
    const worker = await connection.createChannel();
    await worker.prefetch(1);
    await worker.consume(queue, async message => {
      await sleep(20);
      done.push([number, message.content.toString(), message.fields.redelivered]);
      worker.ack(message);
    });
    return connection;
  }));
  await until(() => done.length === 10, 'all tasks');
  assert.deepEqual(done.map(d => d[1]).sort(), [...Array(10).keys()].map(i => `task ${i}`));
  assert.deepEqual(done.filter(d => d[2]).map(d => d[1]), ['task 0'], 'redelivered');
  assert.equal(new Set(done.map(d => d[0])).size, 2, 'workers that worked');
  await Promise.all(workers.map(w => w.close()));
  await ch.deleteQueue(queue);
  await boss.close();
});

check('tutorials 3 to 5, fanout, direct, topic', async () => {
  const connection = await connect();
  const ch = await connection.createChannel();
  const cases = [
    ['fanout', {a: [''], b: ['']}, ['', 'x'], {a: ['', 'x'], b: ['', 'x']}],
    ['direct', {a: ['error'], b: ['info', 'error']}, ['info', 'error', 'debug'], {a: ['error'], b: ['info', 'error']}],
    ['topic', {a: ['#'], b: ['kern.*', '*.critical']}, ['kern.critical', 'kern.info', 'x.y', 'a.b.c'],
      {a: ['kern.critical', 'kern.info', 'x.y', 'a.b.c'], b: ['kern.critical', 'kern.info']}],
  ];
  for (const [type, bindings, keys, want] of cases) {
    const exchange = name(type);
    await ch.assertExchange(exchange, type, {durable: false});
    const consumers = {};
    for (const [label, patterns] of Object.entries(bindings)) {
      const {queue} = await ch.assertQueue('', {exclusive: true});
      assert.match(queue, /^amq\.gen-/);
      for (const pattern of patterns) await ch.bindQueue(queue, exchange, pattern);
      consumers[label] = await collect(ch, queue, {noAck: true});
    }
    for (const key of keys) ch.publish(exchange, key, Buffer.from(key));
    for (const [label, {got, stop}] of Object.entries(consumers)) {
      await until(() => got.length >= want[label].length, `${type} ${label}`);
      await sleep(50);
      assert.deepEqual(got.map(m => m.fields.routingKey), want[label], `${type} ${label}`);
      assert.deepEqual(bodies(got), want[label]);
      await stop();
    }
    await ch.deleteExchange(exchange);
  }
  await connection.close();
});

check('tutorial 6, remote procedure calls', async () => {
  const queue = name('rpc_queue');
  const server = await connect();
  const ch = await server.createChannel();
  await ch.assertQueue(queue, QUORUM);
  await ch.prefetch(1);
  await ch.consume(queue, request => {
    if (!request) return; // the broker's word that the queue is gone
    const n = parseInt(request.content.toString(), 10);
    ch.sendToQueue(request.properties.replyTo, Buffer.from(String(n * n)), {correlationId: request.properties.correlationId});
    ch.ack(request);
  });
  const client = await connect();
  const calls = await client.createChannel();
  const {queue: replies} = await calls.assertQueue('', {exclusive: true});
  const {got} = await collect(calls, replies, {noAck: true});
  for (const n of [2, 3, 12]) calls.sendToQueue(queue, Buffer.from(String(n)), {correlationId: `c${n}`, replyTo: replies});
  await until(() => got.length === 3, 'three answers');
  assert.deepEqual(got.map(m => [m.properties.correlationId, m.content.toString()]), [['c2', '4'], ['c3', '9'], ['c12', '144']]);
  await client.close();
  await ch.deleteQueue(queue);
  await server.close();
});

check('publisher confirms, one by one and all at once; returns', async () => {
  const queue = name('confirms');
  const connection = await connect();
  const ch = await connection.createConfirmChannel();
  await ch.assertQueue(queue, {durable: true});
  const send = key => new Promise((resolve, reject) =>
    ch.publish('', key, Buffer.from('x'), {persistent: true, mandatory: true}, error => (error ? reject(error) : resolve())));
  for (let i = 0; i < 20; i++) await send(queue);
  for (let i = 0; i < 500; i++) ch.sendToQueue(queue, Buffer.from(`m${i}`), {persistent: true});
  await ch.waitForConfirms();
  assert.equal((await ch.checkQueue(queue)).messageCount, 520);
  let returned = null;
  ch.on('return', message => { returned = message; });
  await send(name('nowhere')); // the return comes before the confirm
  assert.equal(returned && returned.fields.replyCode, 312);
  assert.equal(returned.fields.routingKey, name('nowhere'));
  assert.equal((await ch.purgeQueue(queue)).messageCount, 520);
  await ch.deleteQueue(queue);
  await connection.close();
});

check('properties and headers come back as sent', async () => {
  const connection = await connect();
  const ch = await connection.createChannel();
  const {queue} = await ch.assertQueue('', {exclusive: true});
  const headers = {s: 'text', n: 7, big: 2 ** 40, f: 1.5, yes: true, nothing: null, list: [1, 'two'], table: {deep: {er: 'x'}},
    when: {'!': 'timestamp', value: 1700000000}, bytes: Buffer.from([0, 255])};
  const options = {headers, contentType: 'text/plain', contentEncoding: 'utf-8', priority: 3, correlationId: 'c', replyTo: 'r', messageId: 'm',
    timestamp: 1700000001, type: 't', appId: 'a', expiration: '60000', persistent: true};
  ch.sendToQueue(queue, Buffer.alloc(300000, 'z'), options);
  const {got} = await collect(ch, queue, {noAck: true});
  await until(() => got.length === 1, 'the message');
  const {properties, content} = got[0];
  assert.equal(content.length, 300000);
  assert.deepEqual({...properties.headers}, headers);
  for (const key of ['contentType', 'contentEncoding', 'priority', 'correlationId', 'replyTo', 'messageId', 'timestamp', 'type', 'appId', 'expiration'])
    assert.deepEqual(properties[key], options[key], key);
  assert.equal(properties.deliveryMode, 2);
  await connection.close();
});

check('get, nack, and the order after a requeue', async () => {
  const queue = name('requeue');
  const connection = await connect();
  const ch = await connection.createChannel();
  await ch.assertQueue(queue, {durable: true});
  assert.equal(await ch.get(queue), false);
  for (const body of 'abc') ch.sendToQueue(queue, Buffer.from(body));
  const first = await until(() => ch.get(queue), 'a message');
  assert.equal(first.content.toString(), 'a');
  await ch.get(queue);
  ch.nackAll(true);
  await until(async () => (await ch.checkQueue(queue)).messageCount === 3, 'all back');
  const {got} = await collect(ch, queue, {noAck: true});
  await until(() => got.length === 3, 'all three');
  assert.deepEqual(got.map(m => [m.content.toString(), m.fields.redelivered]), [['a', true], ['b', true], ['c', false]]);
  await ch.deleteQueue(queue);
  await connection.close();
});

check('an error closes its channel only', async () => {
  const connection = await connect();
  const doomed = await connection.createChannel();
  doomed.on('error', () => {});
  await assert.rejects(doomed.checkQueue(name('missing')), error => error.code === 404);
  const ch = await connection.createChannel();
  await ch.assertQueue('', {exclusive: true});
  await connection.close();
});

main();
