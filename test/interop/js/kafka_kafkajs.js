'use strict';

// kafkajs: the same scenario as the other Kafka clients go through.

const {CompressionCodecs, CompressionTypes, Kafka, logLevel, PartitionAssigners} = require('kafkajs');
const SnappyCodec = require('kafkajs-snappy');
const lz4 = require('lz4-napi');
const {ZstdCodec} = require('zstd-codec');
const {assert, check, kafkaAddr, kafkaSASL, kafkaSCRAM, main, name, sleep, until} = require('./check');

// kafkajs brings gzip only; the others are handed to it in its own way.
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
});
const zstd = new Promise(resolve => ZstdCodec.run(z => resolve(new z.Simple())));
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
});

const PARTITIONS = 4;
const [username, password] = kafkaSASL.split(':');
const kafka = new Kafka({
  clientId: 'interop-kafkajs',
  brokers: [kafkaAddr],
  connectionTimeout: 30000,
  logLevel: process.env.DEBUG ? logLevel.INFO : logLevel.NOTHING,
  retry: {initialRetryTime: 50, retries: 10},
  ...(kafkaSASL ? {ssl: false, sasl: {mechanism: 'plain', username, password}} : {}),
});
const admin = kafka.admin();

const createTopic = async (topic, numPartitions = PARTITIONS) => {
  assert.equal(await admin.createTopics({topics: [{topic, numPartitions, replicationFactor: 1}], waitForLeaders: true}), true);
};

async function produce(topic, messages, compression = CompressionTypes.None, idempotent = false) {
  const producer = kafka.producer({idempotent, ...(idempotent ? {maxInFlightRequests: 1} : {})});
  await producer.connect();
  for (let i = 0; i < messages.length; i += 100) { // several batches
    await producer.send({topic, messages: messages.slice(i, i + 100), acks: -1, compression});
  }
  await producer.disconnect();
}

// Messages of every shape that kafkajs can send (header values are never null).
function mixed(count) {
  const start = Date.now() - count;
  let seed = 12345;
  const random = n => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
  return [...Array(count).keys()].map(i => ({
    partition: i % PARTITIONS,
    key: [null, Buffer.alloc(0), Buffer.from(`key-${i}`), Buffer.from([0, 255, random(256)])][random(4)],
    value: [null, Buffer.alloc(0), Buffer.from(`value ${i} `.repeat(1 + random(30))), Buffer.from([...Array(1 + random(2000))].map(() => random(256)))][random(4)],
    headers: [{}, {h: '1'}, {a: 'x', 'ž': Buffer.from([1, 2, random(256)])}][random(3)],
    timestamp: String(start + i),
  }));
}

const plain = (prefix, count) => [...Array(count).keys()].map(i => ({partition: i % PARTITIONS, key: `k${i}`, value: `${prefix}-${i}`}));

// A group member that keeps what it got and commits each message's batch before the next.
async function join(groupId, topic, fromBeginning = true) {
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 30000, rebalanceTimeout: 30000, heartbeatInterval: 500, maxWaitTimeInMs: 100, allowAutoTopicCreation: false,
    partitionAssigners: [PartitionAssigners.roundRobin],
  });
  const member = {got: [], held: [], consumer};
  consumer.on(consumer.events.GROUP_JOIN, ({payload}) => { member.held = payload.memberAssignment[topic] || []; });
  consumer.on(consumer.events.REBALANCING, () => { member.held = []; });
  await consumer.connect();
  await consumer.subscribe({topic, fromBeginning});
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({batch, heartbeat}) => {
      for (const m of batch.messages) member.got.push({...m, partition: batch.partition});
      await consumer.commitOffsets([{topic, partition: batch.partition, offset: String(BigInt(batch.lastOffset()) + 1n)}]);
      await heartbeat();
    },
  });
  member.leave = async () => { await consumer.stop(); await consumer.disconnect(); };
  member.values = () => member.got.map(m => m.value.toString()).sort();
  return member;
}

const values = messages => messages.map(m => m.value).sort();

for (const [codec, type] of Object.entries({none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD})) {
  for (const idempotent of [false, true]) {
    check(`codec ${codec}${idempotent ? ', idempotent' : ''}: what was produced is read back, in order`, async () => {
      const topic = name(`${codec}-${idempotent}`);
      await createTopic(topic);
      const sent = mixed(400);
      await produce(topic, sent, type, idempotent);
      const member = await join(name(`reader-${codec}-${idempotent}`), topic);
      await until(() => member.got.length >= sent.length, 'all records', 20);
      await member.leave();
      for (let p = 0; p < PARTITIONS; p++) {
        const got = member.got.filter(m => m.partition === p);
        const want = sent.filter(m => m.partition === p);
        assert.deepEqual(got.map(m => Number(m.offset)), want.map((_, i) => i), `offsets of partition ${p}`);
        got.forEach((m, i) => {
          const headers = Object.fromEntries(Object.entries(want[i].headers).map(([k, v]) => [k, Buffer.from(v)]));
          assert.deepEqual([m.key, m.value, m.timestamp, m.headers], [want[i].key, want[i].value, want[i].timestamp, headers], `partition ${p}, record ${i}`);
        });
      }
      await admin.deleteTopics({topics: [topic]});
    });
  }
}

check('group of two: join, rebalance, leave, restart from the commit', async () => {
  const topic = name('grouped');
  const group = name('group');
  await createTopic(topic);
  await produce(topic, plain('one', 400));
  const a = await join(group, topic);
  await until(() => a.got.length >= 400, 'the first member reads all', 20);
  assert.deepEqual(a.values(), values(plain('one', 400)));

  const b = await join(group, topic);
  await until(() => a.held.length === 2 && b.held.length === 2, 'both have two partitions', 20);
  assert.deepEqual([...a.held, ...b.held].sort(), [0, 1, 2, 3]);
  a.got = [];
  await produce(topic, plain('two', 400));
  await until(() => a.got.length + b.got.length >= 400, 'both read');
  assert.deepEqual([...a.values(), ...b.values()].sort(), values(plain('two', 400)), 'each record once');
  for (const member of [a, b]) {
    assert.deepEqual([...new Set(member.got.map(m => m.partition))].sort(), [...member.held].sort());
    for (const p of member.held) {
      assert.deepEqual(member.got.filter(m => m.partition === p).map(m => Number(m.offset)), [...Array(100).keys()].map(i => 100 + i), 'order');
    }
  }

  await b.leave();
  await until(() => a.held.length === 4, 'the one that stays takes all', 20);
  a.got = [];
  await produce(topic, plain('three', 40));
  await until(() => a.got.length >= 40, 'it reads on');
  assert.deepEqual(a.values(), values(plain('three', 40)));
  await a.leave();
  const [{partitions}] = await admin.fetchOffsets({groupId: group, topics: [topic]});
  assert.deepEqual(partitions.map(p => p.offset), Array(4).fill('210'), 'committed offsets');
  assert.ok((await admin.listGroups()).groups.some(g => g.groupId === group), 'the group is listed');

  await produce(topic, plain('four', 60));
  const c = await join(group, topic);
  await until(() => c.got.length >= 60, 'the new member reads', 20);
  await sleep(300);
  assert.deepEqual(c.values(), values(plain('four', 60)), 'only what came after the commit');
  await c.leave();
  await admin.deleteTopics({topics: [topic]});
}, 90);

check('bounds and offsets by time', async () => {
  const topic = name('lookups');
  await createTopic(topic, 1);
  const start = Date.now() - 60000;
  for (let batch = 0; batch < 5; batch++) {
    await produce(topic, [...Array(20).keys()].map(i => ({partition: 0, value: 'x', timestamp: String(start + (batch * 20 + i) * 10)})));
  }
  const [{low, high}] = await admin.fetchTopicOffsets(topic);
  assert.deepEqual([low, high], ['0', '100']);
  for (const [after, want] of [[0, '0'], [1, '1'], [305, '31'], [990, '99']]) {
    assert.deepEqual((await admin.fetchTopicOffsetsByTimestamp(topic, start + after))[0].offset, want, `after ${after} ms`);
  }
  await admin.deleteTopics({topics: [topic]});
});

check('transactions: what is committed is read, with the offset of its group; what is aborted is not', async () => {
  const topic = name('transactions'), group = name('transactions-group');
  await createTopic(topic, 2);
  const producer = kafka.producer({transactionalId: topic, idempotent: true, maxInFlightRequests: 1, transactionTimeout: 30000});
  await producer.connect();
  for (let turn = 0; turn < 6; turn++) {
    const transaction = await producer.transaction();
    await transaction.send({topic, messages: [0, 1].map(partition => ({partition, value: `${turn % 3 ? 'kept' : 'lost'}-${turn}`}))});
    await transaction.sendOffsets({consumerGroupId: group, topics: [{topic, partitions: [{partition: 0, offset: String(turn + 1)}]}]});
    await (turn % 3 ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const [{partitions}] = await admin.fetchOffsets({groupId: group, topics: [topic]});
  assert.deepEqual(partitions.find(p => p.partition === 0).offset, '6', 'the offset of the last that was committed');
  const a = await join(group + '-reader', topic);
  await until(() => a.got.length >= 8, 'what is committed');
  await sleep(200);
  assert.deepEqual(a.got.filter(m => m.partition === 1).map(m => String(m.value)), [1, 2, 4, 5].map(turn => `kept-${turn}`));
  assert.equal(a.got.length, 8, 'messages');
  await a.leave();
  await admin.deleteTopics({topics: [topic]});
}, 60);

for (const mechanism of kafkaSCRAM ? ['scram-sha-256', 'scram-sha-512'] : []) { // only a broker that is Leveret has them as it comes
  check(`${mechanism.toUpperCase()}: the right password gets in, a wrong one does not`, async () => {
    const [username, right] = kafkaSCRAM.split(':');
    for (const password of [right, 'wrong']) {
      const who = new Kafka({brokers: [kafkaAddr], connectionTimeout: 30000, authenticationTimeout: 30000, logLevel: logLevel.NOTHING, retry: {retries: 0}, ssl: false, sasl: {mechanism, username, password}}).admin();
      try {
        await who.connect();
        assert.equal((await who.describeCluster()).brokers.length, 1);
        assert.equal(password, right, 'the password that gets in');
        await who.disconnect();
      } catch (error) {
        assert.match(error.message, /the name or the password is wrong/);
        assert.equal(password, 'wrong', 'the password that is refused');
      }
    }
  }, 40);
}

admin.connect().then(main, error => { console.log(`FAIL connect: ${error.message}`); process.exit(1); });
