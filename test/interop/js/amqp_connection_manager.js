'use strict';

// amqp-connection-manager: channels that outlive their connections.

const net = require('node:net');
const manager = require('amqp-connection-manager');
const {amqpURL, assert, check, main, name, until} = require('./check');

function connect(urls = [amqpURL], options = {}) {
  const connection = manager.connect(urls, {reconnectTimeInSeconds: 0.2, ...options});
  connection.on('connectFailed', () => {});
  return connection;
}

const cut = connection => connection.connection.connection.stream.destroy(new Error('lost on purpose'));

check('published before there is a connection; JSON, confirms', async () => {
  const queue = name('early');
  const connection = connect();
  const channel = connection.createChannel({json: true, setup: ch => ch.assertQueue(queue, {durable: true})});
  const sent = [...Array(50).keys()].map(n => channel.sendToQueue(queue, {n}, {persistent: true}));
  assert.equal(channel.queueLength(), 50);
  await Promise.all(sent);
  const got = [];
  await channel.consume(queue, message => { got.push(JSON.parse(message.content)); channel.ack(message); }, {prefetch: 5});
  await until(() => got.length === 50, 'all of them');
  assert.deepEqual(got.map(m => m.n), [...Array(50).keys()]);
  await channel.cancelAll();
  await channel.deleteQueue(queue);
  await connection.close();
});

check('after a lost connection: set up again, consumers back, nothing confirmed is lost', async () => {
  const queue = name('lost'), exchange = name('lost');
  const connection = connect();
  let setups = 0;
  const channel = connection.createChannel({setup: async ch => {
    setups++;
    await ch.assertExchange(exchange, 'topic', {durable: true});
    await ch.assertQueue(queue, {durable: true, arguments: {'x-queue-type': 'quorum'}});
    await ch.bindQueue(queue, exchange, 'a.#');
    const {queue: own} = await ch.assertQueue('', {exclusive: true, autoDelete: true});
    await ch.bindQueue(own, exchange, '#');
  }});
  const got = new Set();
  await channel.consume(queue, message => { got.add(message.content.toString()); channel.ack(message); }, {prefetch: 10});
  // What is not confirmed when the connection goes is rejected, and is the application's to send again.
  const publish = body => channel.publish(exchange, 'a.b', Buffer.from(body), {persistent: true, timeout: 60000})
    .catch(error => { if (error.message === 'channel closed') return publish(body); throw error; });
  const sent = [];
  for (let i = 0; i < 300; i++) {
    sent.push(publish(`m${i}`));
    if (i === 100 || i === 200) {
      await sent[i - 20];
      cut(connection);
      await until(() => !connection.isConnected(), 'the loss');
    }
  }
  await Promise.all(sent);
  await until(() => got.size === 300, 'all of them');
  assert.equal(setups, 3);
  await channel.cancelAll();
  await channel.deleteQueue(queue);
  await channel.deleteExchange(exchange);
  await connection.close();
});

check('a channel that the broker closes is made anew', async () => {
  const queue = name('closed');
  const connection = connect();
  const errors = [];
  const channel = connection.createChannel({setup: ch => ch.assertQueue(queue, {durable: false})});
  channel.on('error', error => errors.push(error.code));
  await channel.waitForConnect();
  await assert.rejects(channel.checkQueue(name('missing')), error => error.code === 404);
  await until(async () => {
    try {
      return (await channel.checkQueue(queue)).messageCount === 0;
    } catch { return false; }
  }, 'the channel to be back');
  await channel.sendToQueue(queue, Buffer.from('x'));
  assert.equal((await channel.checkQueue(queue)).messageCount, 1);
  await channel.deleteQueue(queue);
  await connection.close();
});

check('a queue that is deleted: it and its consumer are set up again', async () => {
  const queue = name('deleted');
  const connection = connect();
  const channel = connection.createChannel({setup: ch => ch.assertQueue(queue, {durable: false})});
  channel.on('error', () => {});
  const got = [];
  await channel.consume(queue, message => got.push(message.content.toString()), {noAck: true});
  await channel.sendToQueue(queue, Buffer.from('before'));
  await until(() => got.includes('before'), 'a message before it');
  const other = connection.createChannel({});
  await other.waitForConnect();
  await other.deleteQueue(queue); // the broker cancels the consumer; consuming again finds no queue and ends the channel
  await until(async () => {
    await channel.sendToQueue(queue, Buffer.from('after'), {timeout: 500}).catch(() => {});
    return got.includes('after');
  }, 'a message after it');
  await channel.cancelAll();
  await channel.deleteQueue(queue);
  await connection.close();
});

check('refused messages reject, each its own', async () => {
  const queue = name('full');
  const connection = connect();
  const channel = connection.createChannel({setup: ch => ch.assertQueue(queue, {durable: true, maxLength: 3, arguments: {'x-overflow': 'reject-publish'}})});
  const results = await Promise.allSettled([...Array(6).keys()].map(n => channel.sendToQueue(queue, Buffer.from(`${n}`), {persistent: true})));
  assert.deepEqual(results.map(r => r.status), ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected']);
  await channel.deleteQueue(queue);
  await connection.close();
});

check('the next address when one does not answer', async () => {
  const listener = net.createServer(socket => socket.destroy());
  await new Promise(resolve => listener.listen(0, '127.0.0.1', resolve));
  const connection = connect([`amqp://127.0.0.1:${listener.address().port}`, amqpURL]);
  const channel = connection.createChannel({setup: ch => ch.assertQueue('', {exclusive: true})});
  await channel.waitForConnect();
  await channel.publish('', name('nowhere'), Buffer.from('x'));
  await connection.close();
  listener.close();
});

main();
