'use strict';

// amqplib and kafkajs over TLS, with and without certificates of their own. The environment has AMQPS_ADDR,
// KAFKA_TLS_ADDR and TLS_DIR, as py/tls.py says.

const fs = require('node:fs');
const path = require('node:path');
const {randomBytes} = require('node:crypto');
const amqplib = require('amqplib');
const {Kafka, logLevel} = require('kafkajs');
const {assert, check, main, name, until} = require('./check');

const read = file => fs.readFileSync(path.join(process.env.TLS_DIR, file));
const ca = [read('ca.pem')];
const own = user => (user ? {cert: read(`client-${user}.pem`), key: read(`client-${user}-key.pem`)} : {});
const body = randomBytes(900_000);

async function amqpRoundTrip(login, options) {
  const connection = await amqplib.connect(`amqps://${login}${process.env.AMQPS_ADDR}/`, {ca, servername: 'localhost', ...options});
  const channel = await connection.createConfirmChannel();
  const queue = name('queue');
  await channel.assertQueue(queue, {durable: true});
  for (const each of [body, Buffer.from('small')]) channel.sendToQueue(queue, each, {persistent: true});
  await channel.waitForConfirms();
  for (const want of [body, Buffer.from('small')]) {
    const message = await channel.get(queue, {noAck: true});
    assert.ok(message && message.content.equals(want), 'what came back is what was sent');
  }
  await channel.deleteQueue(queue);
  await connection.close();
}

check('amqplib: a password', () => amqpRoundTrip('guest:guest@'));
check('amqplib: over TLS 1.2', () => amqpRoundTrip('guest:guest@', {maxVersion: 'TLSv1.2'}));
check('amqplib: SASL EXTERNAL by a client certificate', () =>
  amqpRoundTrip('', {...own('guest'), credentials: amqplib.credentials.external()}));
check('amqplib: a certificate that names nobody logs nobody in', () =>
  assert.rejects(amqpRoundTrip('', {...own('stranger'), credentials: amqplib.credentials.external()}), /ACCESS.REFUSED|EXTERNAL/i));
check('amqplib: a broker that is not trusted is not spoken to', () =>
  assert.rejects(amqpRoundTrip('guest:guest@', {ca: []}), /certificate/));

async function kafkaRoundTrip(user, sasl) {
  const kafka = new Kafka({
    clientId: 'interop-tls', brokers: [process.env.KAFKA_TLS_ADDR], ssl: {ca, ...own(user)}, sasl,
    logLevel: process.env.DEBUG ? logLevel.INFO : logLevel.NOTHING, retry: {initialRetryTime: 50, retries: 2},
  });
  const admin = kafka.admin();
  await admin.connect();
  const topic = name(`topic-${user}-${sasl ? sasl.mechanism : ''}`);
  await admin.createTopics({topics: [{topic, numPartitions: 1, replicationFactor: 1}]});
  await admin.disconnect();
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({topic, messages: [{value: body}, {value: 'small'}]});
  await producer.disconnect();
  const consumer = kafka.consumer({groupId: topic});
  await consumer.connect();
  await consumer.subscribe({topic, fromBeginning: true});
  const got = [];
  await consumer.run({eachMessage: async ({message}) => { got.push(message.value); }});
  await until(() => got.length >= 2, 'both records');
  await consumer.disconnect();
  assert.ok(got[0].equals(body) && got[1].equals(Buffer.from('small')), 'what came back is what was sent');
}

const login = mechanism => ({mechanism, username: 'guest', password: 'guest'});
check('kafkajs: TLS, without a login', () => kafkaRoundTrip());
check('kafkajs: a client certificate is the login', () => kafkaRoundTrip('guest'));
check('kafkajs: SASL over TLS', async () => {
  await kafkaRoundTrip(undefined, login('plain'));
  await kafkaRoundTrip('stranger', login('scram-sha-256'));
});
check('kafkajs: a certificate that names nobody lets nobody in', () => assert.rejects(kafkaRoundTrip('stranger')));

main();
