'use strict';

// Kafka clients for Node.js of the days before kafkajs: kafka-node and no-kafka.

const {promisify} = require('node:util');
const kafkaNode = require('kafka-node');
const noKafka = require('no-kafka');
const {assert, check, kafkaAddr, kafkaSASL, main, name, until} = require('./check');

const COUNT = 50;
const [username, password] = kafkaSASL.split(':');

check('kafka-node: each codec it has by itself, a group that goes on from its commit, administration', async () => {
  const topic = name('kafka-node'), group = name('kafka-node-group');
  const options = {kafkaHost: kafkaAddr, connectTimeout: 5000, requestTimeout: 10000, ...(kafkaSASL ? {sasl: {mechanism: 'plain', username, password}} : {})};
  const client = new kafkaNode.KafkaClient(options);
  await new Promise((resolve, reject) => client.once('ready', resolve).once('error', reject));
  await promisify(client.createTopics.bind(client))([{topic, partitions: 3, replicationFactor: 1}]);
  const producer = new kafkaNode.HighLevelProducer(client, {requireAcks: 1});
  const send = promisify(producer.send.bind(producer));
  const want = [];
  for (const attributes of [0, 1]) { // none, gzip
    const messages = [...Array(COUNT).keys()].map(i => new kafkaNode.KeyedMessage(`k${i}`, `${attributes}-${i}`));
    await send([{topic, messages, attributes}]);
    want.push(...messages.map(m => m.value));
  }
  const got = [];
  const join = () => {
    const member = new kafkaNode.ConsumerGroup({...options, groupId: group, sessionTimeout: 10000, protocol: ['roundrobin'], fromOffset: 'earliest', autoCommit: false}, topic);
    member.on('message', m => got.push(m.value));
    member.failed = new Promise((_, reject) => member.on('error', reject));
    return member;
  };
  const first = join();
  await Promise.race([until(() => got.length >= want.length, 'all messages'), first.failed]);
  assert.deepEqual([...got].sort(), want.sort());
  await promisify(first.commit.bind(first))(true);
  await promisify(first.close.bind(first))(false);
  got.length = 0;
  await send([{topic, messages: ['one more']}]);
  const second = join();
  await Promise.race([until(() => got.length > 0, 'what came after the commit'), second.failed]);
  assert.deepEqual(got, ['one more']);
  await promisify(second.close.bind(second))(false);
  const admin = new kafkaNode.Admin(client);
  const [configs] = await promisify(admin.describeConfigs.bind(admin))({resources: [{resourceType: admin.RESOURCE_TYPES.topic, resourceName: topic, configNames: []}], includeSynonyms: false});
  assert.ok(configs.configEntries.some(c => c.configName === 'retention.ms'));
  assert.equal((await promisify(admin.describeGroups.bind(admin))([group]))[group].state, 'Empty');
  assert.ok(group in await promisify(admin.listGroups.bind(admin))());
  client.close(() => {});
});

check('no-kafka: each codec it has by itself, a group that goes on from its commit, its lag', async () => {
  const topic = name('no-kafka'), group = name('no-kafka-group');
  const options = {connectionString: `kafka://${kafkaAddr}`, logger: {logLevel: 0}};
  const producer = new noKafka.Producer(options);
  await producer.init();
  const want = [];
  for (const codec of [noKafka.COMPRESSION_NONE, noKafka.COMPRESSION_GZIP]) {
    const values = [...Array(COUNT).keys()].map(i => `${codec}-${i}`);
    const sent = await producer.send(values.map(value => ({topic, partition: 0, message: {key: 'k', value}})), {codec, retries: {attempts: 10, delay: {min: 50, max: 500}}});
    assert.ok(sent.every(s => !s.error));
    want.push(...values);
  }
  const got = [];
  const join = async () => {
    const member = new noKafka.GroupConsumer({...options, groupId: group, startingOffset: noKafka.EARLIEST_OFFSET, idleTimeout: 50});
    await member.init([{subscriptions: [topic], handler: async (set, _, partition) => {
      got.push(...set.map(m => m.message.value.toString()));
      await member.commitOffset({topic, partition, offset: set[set.length - 1].offset});
    }}]);
    return member;
  };
  const first = await join();
  await until(() => got.length >= want.length, 'all messages');
  assert.deepEqual(got.sort(), want.sort()); // it sends some again, since there was no topic at first
  await first.end();
  got.length = 0;
  await producer.send({topic, partition: 0, message: {value: 'one more'}});
  const second = await join();
  await until(() => got.length > 0, 'what came after the commit');
  assert.deepEqual(got, ['one more']);
  await second.end();
  const admin = new noKafka.GroupAdmin(options);
  await admin.init();
  const [lag] = await admin.fetchConsumerLag(group, [{topicName: topic, partitions: [0]}]);
  assert.deepEqual([lag.offset, lag.highwaterMark, lag.consumerLag], [want.length + 1, want.length + 1, 0]);
  await admin.end();
  await producer.end();
});

main();
