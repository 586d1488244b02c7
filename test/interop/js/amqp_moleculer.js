'use strict';

// moleculer's AMQP transporter: nodes that find, call and tell each other, balanced by
// moleculer and by the broker's queues.

const {Readable} = require('node:stream');
const amqp = require('amqplib');
const {ServiceBroker} = require('moleculer');
const {amqpURL, assert, check, main, name, sleep, until} = require('./check');

// A group of nodes with a namespace of its own.
function group(label, options = {}) {
  const namespace = name(label);
  const nodes = [];
  return {
    add(nodeID, ...services) {
      const node = new ServiceBroker({namespace, nodeID, logger: false, requestTimeout: 60000,
        ...options, transporter: {type: 'AMQP', options: {url: amqpURL, ...options.amqp}}});
      for (const service of services) node.createService(service);
      nodes.push(node);
      return node;
    },
    start: () => Promise.all(nodes.map(node => node.start())),
    async stop() { await Promise.all(nodes.map(node => node.stop())); },
    queue: rest => `MOL-${namespace}.${rest}`,
  };
}

const math = {
  name: 'math',
  actions: {
    add: ctx => ctx.params.a + ctx.params.b,
    where: ctx => ctx.nodeID && ctx.broker.nodeID,
    broken() { throw new Error('out of order'); },
    async length(ctx) {
      let size = 0;
      for await (const chunk of ctx.params) size += chunk.length;
      return size;
    },
    nested: async ctx => `${await ctx.call('names.mine')} by way of ${ctx.broker.nodeID}, ${ctx.meta.user}`,
  },
};

check('two nodes: discovery, calls, errors, metadata, streams', async () => {
  // A prefetch of one, which is moleculer's default, would wait for a stream's end before its second part.
  const nodes = group('calls', {amqp: {prefetch: 50}});
  const a = nodes.add('a', {name: 'names', actions: {mine: ctx => `a for ${ctx.caller}`}});
  const b = nodes.add('b', math);
  await nodes.start();
  await Promise.all([a.waitForServices('math', 60000), b.waitForServices('names', 60000)]);
  assert.equal(await a.call('math.add', {a: 2, b: 3}), 5);
  assert.deepEqual(await Promise.all([...Array(200).keys()].map(n => a.call('math.add', {a: n, b: 1}))), [...Array(200).keys()].map(n => n + 1));
  await assert.rejects(a.call('math.broken'), error => error.message === 'out of order' && error.nodeID === 'b');
  assert.equal(await a.call('math.nested', {}, {meta: {user: 'me'}}), 'a for math by way of b, me');
  const data = Buffer.alloc(300000, 'z');
  assert.equal(await a.call('math.length', Readable.from([data.subarray(0, 1000), data.subarray(1000, 200000), data.subarray(200000)]), {}), 300000);
  const pong = await a.ping('b', 60000);
  assert(pong && pong.nodeID === 'b', 'a ping');
  await b.stop();
  await until(() => !a.registry.nodes.get('b').available, 'the word that b has gone');
  await assert.rejects(a.call('math.add', {a: 1, b: 1}), error => error.type === 'SERVICE_NOT_AVAILABLE');
  await a.stop();
});

check('calls are spread by moleculer', async () => {
  const nodes = group('spread');
  const a = nodes.add('a');
  nodes.add('b', math);
  nodes.add('c', math);
  await nodes.start();
  await until(() => a.registry.actions.get('math.where')?.count() === 2, 'both to be known');
  const where = await Promise.all([...Array(20).keys()].map(() => a.call('math.where')));
  assert.deepEqual(where.reduce((n, node) => ({...n, [node]: (n[node] || 0) + 1}), {}), {b: 10, c: 10});
  await nodes.stop();
});

check('events: one of each group, or everybody', async () => {
  const nodes = group('events', {amqp: {eventTimeToLive: 5000, heartbeatTimeToLive: 5000}});
  const seen = [];
  const listener = service => ({name: service, events: {
    'user.*': ctx => { seen.push(`${ctx.eventType} ${ctx.eventName} ${service}@${ctx.broker.nodeID} ${ctx.params.id}`); }}});
  const a = nodes.add('a');
  for (const id of ['b', 'c']) nodes.add(id, listener('mail'), listener('audit'));
  await nodes.start();
  await until(() => a.registry.events.getGroups('user.made').length === 2 && a.registry.nodes.count() === 3, 'all to be known');
  await until(() => a.registry.events.getAllEndpoints('user.made').length === 2, 'their endpoints');
  for (let id = 0; id < 4; id++) await a.emit('user.made', {id});
  await until(() => seen.length === 8, 'one of each group');
  for (const service of ['mail', 'audit'])
    assert.deepEqual(seen.filter(s => s.includes(service)).map(s => s.at(-1)).sort(), ['0', '1', '2', '3'], service);
  seen.length = 0;
  await a.broadcast('user.gone', {id: 9});
  await until(() => seen.length === 4, 'everybody');
  await sleep(50);
  assert.deepEqual(seen.sort(), ['audit', 'mail'].flatMap(s => ['b', 'c'].map(n => `broadcast user.gone ${s}@${n} 9`)));
  await nodes.stop();
});

check('calls and events are spread by the queues; a node dies at work', async () => {
  const nodes = group('balanced', {disableBalancer: true, amqp: {prefetch: 1}});
  const worked = {b: [], c: []}, told = [];
  let stuck = null;
  const worker = id => ({
    name: 'work',
    actions: {do: async ctx => {
      if (ctx.params.n === 'stuck' && id === 'b' && !stuck) {
        stuck = true;
        await new Promise(() => {}); // until its node is gone
      }
      await sleep(5);
      worked[id].push(ctx.params.n);
      return `${ctx.params.n} done`;
    }},
    events: {'news.flash': ctx => { told.push([id, ctx.params.n]); }},
  });
  // A node may tell of its services before their queues are there: wait for these.
  const connection = await amqp.connect(amqpURL);
  const ch = await connection.createChannel();
  const queues = [[nodes.queue('REQB.work.do'), {}], [nodes.queue('EVENTB.work.news.flash'), {expires: 120000}]];
  const workers = number => until(async () => {
    for (const [queue, options] of queues) if ((await ch.assertQueue(queue, options)).consumerCount !== number) return false;
    return true;
  }, `${number} at the queues`);
  const a = nodes.add('a');
  const b = nodes.add('b', worker('b'));
  await nodes.start();
  await a.waitForServices('work', 60000);
  await workers(1);
  const answer = a.call('work.do', {n: 'stuck'}, {timeout: 60000});
  await until(() => stuck, 'b to be at work');
  const c = nodes.add('c', worker('c'));
  await c.start();
  // The connection breaks: what b had comes to c. b itself is told of nothing else and comes back later.
  b.transit.tx.connection.connection.stream.destroy(new Error('lost on purpose'));
  assert.equal(await answer, 'stuck done');
  assert.deepEqual(worked, {b: [], c: ['stuck']});
  await workers(2); // b is back
  const answers = await Promise.all([...Array(60).keys()].map(n => a.call('work.do', {n})));
  assert.deepEqual(answers, [...Array(60).keys()].map(n => `${n} done`));
  assert(worked.b.length > 5 && worked.c.length > 5, `b did ${worked.b.length}, c did ${worked.c.length}`);
  for (let n = 0; n < 10; n++) await a.emit('news.flash', {n});
  await until(() => told.length === 10, 'all events');
  assert.deepEqual(told.map(t => t[1]).sort(), [...Array(10).keys()]);
  await nodes.stop();
  for (const [queue] of queues) {
    assert.equal((await ch.checkQueue(queue)).messageCount, 0, queue);
    await ch.deleteQueue(queue);
  }
  await connection.close();
});

main({together: true});
