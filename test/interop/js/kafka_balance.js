'use strict';

// One member of a classic group, of kafkajs, in a process that may be killed: py/balance_member.py says
// what it prints.
//
//   kafka_balance.js GROUP TOPIC

const {Kafka, logLevel} = require('kafkajs');
const {kafkaAddr, kafkaSASL} = require('./check');

const [groupId, topic] = process.argv.slice(2);
const [username, password] = kafkaSASL.split(':');
const kafka = new Kafka({
  brokers: [kafkaAddr], logLevel: logLevel.NOTHING, retry: {initialRetryTime: 50, retries: 10},
  ...(kafkaSASL ? {ssl: false, sasl: {mechanism: 'plain', username, password}} : {}),
});
const consumer = kafka.consumer({groupId, sessionTimeout: Number(process.env.SESSION_MS), rebalanceTimeout: 10000, heartbeatInterval: 300, maxWaitTimeInMs: 100, allowAutoTopicCreation: false});
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

consumer.on(consumer.events.GROUP_JOIN, ({payload}) => say('held', ...(payload.memberAssignment[topic] || [])));
consumer.on(consumer.events.REBALANCING, () => say('held'));

(async () => {
  await consumer.connect();
  await consumer.subscribe({topic, fromBeginning: true});
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({batch, heartbeat}) => {
      const next = BigInt(batch.lastOffset()) + 1n;
      say('got', batch.partition, batch.firstOffset(), batch.lastOffset());
      await consumer.commitOffsets([{topic, partition: batch.partition, offset: String(next)}]);
      say('done', batch.partition, next);
      await heartbeat();
    },
  });
  process.stdin.resume();
  process.stdin.on('end', async () => {
    await consumer.stop();
    await consumer.disconnect();
    process.exit(0);
  });
})();
