'use strict';

// xmpp.js, over STARTTLS and over TLS from the first byte. The environment has XMPP_ADDR, TLS_DIR, as py/xmpp_slixmpp.py
// says, and NODE_EXTRA_CA_CERTS.

const amqplib = require('amqplib');
const {client, xml} = require('@xmpp/client');
const {amqpURL, assert, check, main, name, sleep, until, user} = require('./check');

const port = (process.env.XMPP_ADDR || '127.0.0.1:5222').split(':').pop();

const username = user('xmppjs');

// iqCaller of xmpp.js listens for the answer, too, only when it knows that the request was written. An error that is there before
// that is a rejection that nobody handles as yet, for which Node.js would end the program; who asked is told of it all the same.
process.on('unhandledRejection', error => {
  if (error.name !== 'StanzaError') throw error;
});

async function connect(scheme, resource) {
  const c = client({service: `${scheme}://localhost:${port}`, domain: 'localhost', resource, username: await username, password: 'secret'});
  c.got = [];
  c.on('error', () => {});
  c.on('stanza', stanza => c.got.push(stanza));
  // start() of xmpp.js listens for the answer to its stream header only when it knows that the header was written. On a machine
  // that is busy the answer is there before that; start() then fails after 2 s, and the client signs in all the same.
  c.on('online', address => (c.address = address));
  c.start().catch(() => {});
  await until(() => c.address, 'online');
  await c.send(xml('presence'));
  return c;
}

async function amqp(queue) {
  const connection = await amqplib.connect(amqpURL);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, {durable: true});
  return [connection, channel];
}

// Others may come: what a client has not acknowledged when it left waits for the next.
const from = (c, queue) => c.got.filter(s => s.is('message') && s.attrs.from.startsWith(queue));

for (const scheme of ['xmpp', 'xmpps']) {
  check(`${scheme}: it signs in, asks, and talks to itself`, async () => {
    const c = await connect(scheme, 'node');
    assert.equal(c.address.toString(), `${await username}@localhost/node`);
    const items = await c.iqCaller.get(xml('query', {xmlns: 'http://jabber.org/protocol/disco#items'}), 'localhost');
    assert.ok(items.children.some(item => item.attrs.jid === 'queues.localhost'));
    await assert.rejects(c.iqCaller.get(xml('query', {xmlns: 'urn:nobody'}), 'localhost'), /service-unavailable/);
    await c.send(xml('message', {to: c.address.toString(), type: 'chat'}, xml('body', {}, 'grüße & <mehr>')));
    const m = await until(() => c.got.find(s => s.is('message')), 'the message');
    assert.equal(m.getChildText('body'), 'grüße & <mehr>');
    await c.stop();
  });
}

check('a queue in both directions', async () => {
  const queue = name('queue').toLowerCase();
  const [connection, channel] = await amqp(queue);
  const c = await connect('xmpp', 'worker');
  await c.send(xml('message', {to: `${queue}@queues.localhost`, id: 'm1'}, xml('body', {}, 'out')));
  const got = await until(() => channel.get(queue, {noAck: true}), 'the message');
  assert.equal(got.content.toString(), 'out');
  assert.equal(got.properties.messageId, 'm1');
  await c.send(xml('presence', {to: `${queue}@queues.localhost`}));
  for (let i = 0; i < 50; i++) channel.sendToQueue(queue, Buffer.from(String(i)), {headers: {n: i}});
  const messages = await until(() => (l => l.length === 50 && l)(from(c, queue)), 'the messages');
  assert.deepEqual(messages.map(m => m.getChildText('body')), [...Array(50).keys()].map(String));
  assert.equal(messages[7].getChild('headers', 'http://jabber.org/protocol/shim').children.find(h => h.attrs.name === 'n').text(), '7');
  await until(async () => (await channel.checkQueue(queue)).messageCount === 0, 'nothing is left');
  await c.stop();
  await until(async () => (await channel.checkQueue(queue)).consumerCount === 0, 'the consumer leaves');
  await connection.close();
});

check('a stream that breaks is resumed', async () => {
  const queue = name('resume').toLowerCase();
  const [connection, channel] = await amqp(queue);
  const c = await connect('xmpp', 'resume');
  await c.send(xml('presence', {to: `${queue}@queues.localhost`}));
  channel.sendToQueue(queue, Buffer.from('before'));
  await until(() => from(c, queue).length === 1, 'the first message');
  let resumed = false;
  c.streamManagement.on('resumed', () => (resumed = true));
  await sleep(300);
  c.socket.socket.destroy();
  channel.sendToQueue(queue, Buffer.from('meanwhile'));
  await until(() => resumed, 'resumed');
  await until(() => from(c, queue).length >= 2, 'the second message');
  await sleep(200);
  assert.deepEqual(from(c, queue).map(m => m.getChildText('body')), ['before', 'meanwhile']);
  await c.stop();
  await connection.close();
});

main();
