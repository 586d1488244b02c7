'use strict';

// NestJS microservices over RabbitMQ, its server and its client: as an application in
// TypeScript has it, with the decorators called by hand.

require('reflect-metadata');
const amqp = require('amqplib');
const {Controller, Logger, Module} = require('@nestjs/common');
const {NestFactory} = require('@nestjs/core');
const {ClientRMQ, Ctx, EventPattern, MessagePattern, Payload, RmqRecordBuilder, RpcException, Transport} = require('@nestjs/microservices');
const {from, lastValueFrom, timeout, toArray} = require('rxjs');
const {amqpURL, assert, check, main, name, sleep, until} = require('./check');

// serve starts a microservice. Handlers are functions of (payload, context), by pattern.
async function serve(options, {requests = {}, events = {}}) {
  class App {}
  let number = 0;
  const add = (decorator, pattern, handler) => {
    const method = `handler${number++}`;
    App.prototype[method] = handler;
    Payload()(App.prototype, method, 0);
    Ctx()(App.prototype, method, 1);
    decorator(pattern)(App.prototype, method, Object.getOwnPropertyDescriptor(App.prototype, method));
  };
  const pattern = key => (key.startsWith('{') ? JSON.parse(key) : key);
  for (const [key, handler] of Object.entries(requests)) add(MessagePattern, pattern(key), handler);
  for (const [key, handler] of Object.entries(events)) add(EventPattern, pattern(key), handler);
  Controller()(App);
  class AppModule {}
  Module({controllers: [App]})(AppModule);
  const app = await NestFactory.createMicroservice(AppModule,
    {transport: Transport.RMQ, options: {urls: [amqpURL], socketOptions: {reconnectTimeInSeconds: 1}, ...options}, logger: false});
  await app.listen();
  return app;
}

async function client(options) {
  const proxy = new ClientRMQ({urls: [amqpURL], ...options});
  await proxy.connect();
  return proxy;
}

const call = (proxy, pattern, data) => lastValueFrom(proxy.send(pattern, data).pipe(timeout(60000)));
const emit = (proxy, pattern, data) => lastValueFrom(proxy.emit(pattern, data), {defaultValue: null});

// confirmed waits for the confirms of responses, which come behind them: a connection or a server that
// ends before that ends the program, by an error that nobody can catch.
const confirmed = (...managers) => Promise.all(managers.flatMap(manager => manager._channels.map(wrapper => wrapper._channel.waitForConfirms())));

async function direct(work) {
  const connection = await amqp.connect(amqpURL);
  try {
    return await work(await connection.createChannel());
  } finally {
    await connection.close();
  }
}

check('requests and responses by direct reply-to', async () => {
  const options = {queue: name('requests'), queueOptions: {durable: false}};
  const app = await serve(options, {requests: {
    '{"cmd":"sum"}': numbers => numbers.reduce((a, b) => a + b, 0),
    count: n => from([...Array(n).keys()]),
    slow: async ms => { await sleep(ms); return ms; },
    broken: () => { throw new RpcException('out of order'); },
  }});
  const proxy = await client(options);
  assert.equal(await call(proxy, {cmd: 'sum'}, [1, 2, 3]), 6);
  assert.deepEqual(await Promise.all([...Array(200).keys()].map(n => call(proxy, {cmd: 'sum'}, [n, 1]))), [...Array(200).keys()].map(n => n + 1));
  assert.deepEqual(await lastValueFrom(proxy.send('count', 5).pipe(toArray())), [0, 1, 2, 3, 4], 'a stream of responses');
  const order = [];
  await Promise.all([300, 20].map(async ms => order.push(await call(proxy, 'slow', ms))));
  assert.deepEqual(order, [20, 300], 'responses as they are ready');
  await assert.rejects(call(proxy, 'broken', 0), error => error.message === 'out of order' || error === 'out of order');
  await assert.rejects(call(proxy, 'unknown', 0), error => /no matching message handler/i.test(String(error.message || error)));
  const blob = 'x'.repeat(300000);
  assert.equal((await call(proxy, {cmd: 'sum'}, [blob])).length, blob.length + 1);
  await proxy.close();
  await app.close();
  await direct(ch => ch.deleteQueue(options.queue));
});

check('events, acked by hand; a server that dies with one', async () => {
  const options = {queue: name('events'), queueOptions: {durable: true}, noAck: false, prefetchCount: 1};
  const doomed = [], done = [];
  const first = await serve(options, {events: {job: data => { doomed.push(data); }}});
  const proxy = await client({queue: options.queue, queueOptions: options.queueOptions});
  for (let i = 0; i < 10; i++) await emit(proxy, 'job', i);
  await until(() => doomed.length === 1, 'the first event');
  await sleep(100);
  assert.deepEqual(doomed, [0], 'prefetch of one');
  await first.close();
  let goOn;
  const both = new Promise(resolve => { goOn = resolve; }); // each has one in hand before the other can have done all
  const workers = await Promise.all([1, 2].map(number => serve(options, {events: {
    job: async (data, ctx) => {
      await both;
      await sleep(5);
      done.push([number, data, ctx.getMessage().fields.redelivered]);
      ctx.getChannelRef().ack(ctx.getMessage());
    }}})));
  goOn();
  await until(() => done.length === 10, 'all events');
  assert.deepEqual(done.map(d => d[1]).sort(), [...Array(10).keys()]);
  assert.deepEqual(done.filter(d => d[2]).map(d => d[1]), [0], 'redelivered');
  assert.equal(new Set(done.map(d => d[0])).size, 2, 'servers that worked');
  await proxy.close();
  await Promise.all(workers.map(w => w.close()));
  assert.equal((await direct(ch => ch.deleteQueue(options.queue))).messageCount, 0);
});

check('dead letters: rejected, expired, no handler', async () => {
  const dead = name('dead'), work = name('work');
  const graves = [];
  const undertaker = await serve({queue: dead, queueOptions: {durable: true}, noAck: false}, {events: Object.fromEntries(
    ['bad', 'unknown', 'late'].map(pattern => [pattern, (data, ctx) => {
      const {properties} = ctx.getMessage();
      graves.push([pattern, data, properties.headers['x-first-death-reason'], properties.headers['x-first-death-queue']]);
      ctx.getChannelRef().ack(ctx.getMessage());
    }]))});
  const queueOptions = {durable: true, deadLetterExchange: '', deadLetterRoutingKey: dead, maxLength: 1000, messageTtl: 600,
    arguments: {'x-single-active-consumer': true}};
  const app = await serve({queue: work, queueOptions, noAck: false, prefetchCount: 5},
    {events: {bad: (data, ctx) => { ctx.getChannelRef().nack(ctx.getMessage(), false, false); }}});
  const proxy = await client({queue: work, queueOptions});
  await emit(proxy, 'bad', 1);
  await emit(proxy, 'unknown', 2);
  await until(() => graves.length === 2, 'both that were rejected');
  await app.close();
  await emit(proxy, 'late', 3);
  await until(() => graves.length === 3, 'what expired');
  assert.deepEqual(graves.sort((a, b) => a[1] - b[1]), [['bad', 1, 'rejected', work], ['unknown', 2, 'rejected', work], ['late', 3, 'expired', work]]);
  await proxy.close();
  await undertaker.close();
  await direct(async ch => { await ch.deleteQueue(work); await ch.deleteQueue(dead); });
});

check('wildcards on a topic exchange', async () => {
  const options = {queue: name('wild'), wildcards: true, queueOptions: {durable: false}};
  const seen = [];
  const keep = label => (data, ctx) => { seen.push([label, ctx.getPattern(), data]); };
  const app = await serve(options, {
    requests: {'math.square': n => n * n},
    events: {'order.*': keep('order'), 'audit.#': keep('audit')},
  });
  const proxy = await client(options);
  assert.equal(await call(proxy, 'math.square', 12), 144);
  for (const key of ['order.made', 'audit', 'audit.a.b', 'order.a.b', 'other']) await emit(proxy, key, key.length);
  await until(() => seen.length === 3, 'what matches');
  await sleep(50);
  assert.deepEqual(seen, [['order', 'order.made', 10], ['audit', 'audit', 5], ['audit', 'audit.a.b', 9]]);
  await proxy.close();
  await app.close();
  await direct(async ch => { await ch.deleteQueue(options.queue); await ch.deleteExchange(options.queue); });
});

check('a fanout exchange, a queue each', async () => {
  const exchange = {exchange: name('all'), exchangeType: 'fanout', queueOptions: {exclusive: true, durable: false}};
  const seen = [];
  const apps = await Promise.all([1, 2].map(number =>
    serve({...exchange, queue: ''}, {events: {news: data => { seen.push(`${number}:${data}`); }}})));
  const proxy = await client({...exchange, queue: ''});
  await emit(proxy, 'news', 'x');
  await until(() => seen.length === 2, 'both');
  assert.deepEqual(seen.sort(), ['1:x', '2:x']);
  await proxy.close();
  await Promise.all(apps.map(app => app.close()));
  await direct(ch => ch.deleteExchange(exchange.exchange));
});

check('a record\'s properties, headers and priority', async () => {
  const options = {queue: name('records'), queueOptions: {durable: true, arguments: {'x-max-priority': 5}}};
  const proxy = await client({...options, headers: {from: 'client'}});
  const record = (data, priority) => new RmqRecordBuilder(data)
    .setOptions({priority, headers: {'x-version': `v${data}`}, messageId: `m${data}`, expiration: 60000, persistent: true}).build();
  for (const [data, priority] of [[1, 1], [2, 5], [3, 3]]) await emit(proxy, 'r', record(data, priority));
  const got = [];
  const app = await serve({...options, noAck: false, prefetchCount: 1}, {events: {r: (data, ctx) => {
    const {properties} = ctx.getMessage();
    got.push([data, properties.priority, properties.headers, properties.messageId, properties.expiration, properties.deliveryMode]);
    ctx.getChannelRef().ack(ctx.getMessage());
  }}});
  await until(() => got.length === 3, 'all three');
  assert.deepEqual(got, [[2, 5], [3, 3], [1, 1]].map(([data, priority]) =>
    [data, priority, {'from': 'client', 'x-version': `v${data}`}, `m${data}`, '60000', 2]));
  await proxy.close();
  await app.close();
  await direct(ch => ch.deleteQueue(options.queue));
});

check('server and client come back after a lost connection', async () => {
  const options = {queue: name('lost'), queueOptions: {durable: true, arguments: {'x-queue-type': 'quorum'}}};
  const app = await serve(options, {requests: {echo: data => data}});
  const proxy = await client({...options, socketOptions: {reconnectTimeInSeconds: 1}});
  assert.equal(await call(proxy, 'echo', 'before'), 'before');
  const managers = [proxy.unwrap(), app.unwrap()];
  await confirmed(...managers);
  for (const manager of managers) manager.connection.connection.stream.destroy(new Error('lost on purpose'));
  await until(() => call(proxy, 'echo', 'after').then(answer => answer === 'after', () => false), 'an answer after it');
  await confirmed(...managers);
  await proxy.close();
  await app.close();
  await direct(ch => ch.deleteQueue(options.queue));
});

Logger.overrideLogger(false);
main();
