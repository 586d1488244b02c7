'use strict';

// @platformatic/kafka, which speaks the newest versions only: Fetch from 13 and Metadata from 12 on, with ids in the place of names.

const {assert, check, kafkaAddr, kafkaSASL, main, name, until} = require('./check');
const {Admin, Consumer, Producer, stringDeserializers, stringSerializers} = require('@platformatic/kafka');

const PARTITIONS = 4;
const [username, password] = kafkaSASL.split(':');
const common = {
  clientId: 'interop-platformatic', bootstrapBrokers: [kafkaAddr], timeout: 10000, retries: 3, retryDelay: 100,
  ...(kafkaSASL ? {sasl: {mechanism: 'PLAIN', username, password}} : {}),
};
const admin = new Admin(common);
const producing = more => new Producer({...common, serializers: stringSerializers, ...more});
const createTopic = topic => admin.createTopics({topics: [topic], partitions: PARTITIONS, replicas: 1});
const messages = (topic, prefix, count) => [...Array(count).keys()].map(i => (
  {topic, partition: i % PARTITIONS, key: `k${i}`, value: `${prefix}-${i} ${'x'.repeat(i % 90)}`, headers: {h: `h${i}`}, timestamp: BigInt(1700000000000 + i)}));
const values = list => list.map(m => m.value).sort();

// A member that keeps what it got, and commits behind each message.
async function join(groupId, topic, more = {sessionTimeout: 10000, heartbeatInterval: 500}) {
  const consumer = new Consumer({...common, groupId, deserializers: stringDeserializers, maxWaitTime: 100, ...more});
  const member = {got: [], commits: new Set()};
  const stream = await consumer.consume({topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false});
  stream.on('error', error => { member.error = error; });
  stream.on('data', m => {
    member.got.push(m);
    // What is committed while the partition goes over to another member is refused, and read again there.
    const commit = m.commit().catch(error => { member.refused = error; }).finally(() => member.commits.delete(commit));
    member.commits.add(commit);
  });
  member.leave = async () => {
    await Promise.all(member.commits);
    await stream.close();
    await consumer.close();
  };
  member.has = count => {
    if (member.error) throw member.error;
    return member.got.length >= count;
  };
  return member;
}

for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  for (const idempotent of [false, true]) {
    check(`codec ${compression}${idempotent ? ', idempotent' : ''}: what was produced is read back, in order`, async () => {
      const topic = name(`${compression}-${idempotent}`);
      await createTopic(topic);
      const sent = messages(topic, 'v', 200);
      const producer = producing({idempotent});
      for (let i = 0; i < sent.length; i += 50) {
        await producer.send({messages: sent.slice(i, i + 50), acks: -1, ...(compression === 'none' ? {} : {compression})});
      }
      await producer.close();
      const member = await join(name(`reader-${compression}-${idempotent}`), topic);
      await until(() => member.has(sent.length), 'all messages', 20);
      await member.leave();
      for (let p = 0; p < PARTITIONS; p++) {
        const got = member.got.filter(m => m.partition === p);
        assert.deepEqual(got.map(m => [Number(m.offset), m.key, m.value, m.timestamp, m.headers.get('h')]),
          sent.filter(m => m.partition === p).map((m, i) => [i, m.key, m.value, m.timestamp, m.headers.h]), `partition ${p}`);
      }
      await admin.deleteTopics({topics: [topic]});
    });
  }
}

for (const [kind, options] of [['classic', {sessionTimeout: 10000, heartbeatInterval: 500}], ['consumer', {groupProtocol: 'consumer'}]]) {
  check(`${kind} group of two: both read, one leaves, the other takes all, a restart goes on from the commit`, async () => {
    const topic = name(`grouped-${kind}`), group = name(`group-${kind}`);
    await createTopic(topic);
    const producer = producing({});
    const send = (prefix, count) => producer.send({messages: messages(topic, prefix, count), acks: -1});
    await send('one', 100);
    const a = await join(group, topic, options);
    await until(() => a.has(100), 'the first member reads all', 20);
    const b = await join(group, topic, options);
    let want = 100;
    await until(async () => { // the second one reads when partitions have gone over to it
      await send(`turn${want}`, PARTITIONS);
      want += PARTITIONS;
      return b.has(1);
    }, 'the second member reads', 25);
    await until(() => new Set([...a.got, ...b.got].map(m => m.value)).size >= want, 'all is read', 20);
    const described = (kind === 'classic' ? await admin.describeGroups({groups: [group]}) : new Map()).get(group);
    if (described) assert.deepEqual([described.state, described.members.size], ['Stable', 2], 'the group as described');
    await b.leave();
    a.got = [];
    await send('alone', 40);
    await until(() => a.has(40), 'the one that stays reads all', 20);
    await a.leave();
    await send('later', 40);
    const c = await join(group, topic, options);
    await until(() => c.has(40), 'the new member reads', 20);
    assert.deepEqual(values(c.got), values(messages(topic, 'later', 40)), 'only what came after the commit');
    await c.leave();
    await producer.close();
    await admin.deleteTopics({topics: [topic]});
  }, 80);
}

check('a transaction that is committed is read, one that is aborted is not', async () => {
  const topic = name('tx');
  await createTopic(topic);
  const producer = producing({idempotent: true, transactionalId: topic});
  for (const [prefix, commit] of [['yes', true], ['no', false], ['again', true]]) {
    const transaction = await producer.beginTransaction();
    await transaction.send({messages: messages(topic, prefix, 20)});
    await (commit ? transaction.commit() : transaction.abort());
  }
  await producer.close();
  const member = await join(name('tx-group'), topic, {sessionTimeout: 10000, heartbeatInterval: 500, isolationLevel: 1});
  await until(() => member.has(40), 'what was committed', 20);
  assert.deepEqual(values(member.got), [...values(messages(topic, 'again', 20)), ...values(messages(topic, 'yes', 20))].sort());
  await member.leave();
  await admin.deleteTopics({topics: [topic]});
}, 60);

check('configs, offsets and groups as the admin client asks for them', async () => {
  const topic = name('admin');
  await createTopic(topic);
  assert.ok((await admin.listTopics()).includes(topic));
  await admin.incrementalAlterConfigs({resources: [{resourceType: 2, resourceName: topic, configs: [{name: 'retention.ms', configOperation: 0, value: '12345'}]}]});
  const [{configs}] = await admin.describeConfigs({resources: [{resourceType: 2, resourceName: topic, configurationKeys: ['retention.ms']}]});
  assert.deepEqual(configs.map(c => [c.name, c.value]), [['retention.ms', '12345']]);
  await admin.createPartitions({topics: [{name: topic, count: 6, assignments: null}]});
  assert.equal((await admin.metadata({topics: [topic], forceUpdate: true})).topics.get(topic).partitionsCount, 6);
  await admin.deleteTopics({topics: [topic]});
  assert.ok(!(await admin.listTopics()).includes(topic));
});

main();
