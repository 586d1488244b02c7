'use strict';

// @stomp/stompjs over WebSocket and over TCP, and webstomp-client over WebSocket. The same scenario runs in a page
// (stomp_page.js), so it takes what it needs of the two places as arguments.

const net = require('node:net');
const WebSocket = require('ws');
const {TCPWrapper} = require('@stomp/tcp-wrapper');
const webstomp = require('webstomp-client');
const {assert, check, main, name, until} = require('./check');
const {scenario} = require('./stomp_scenario');

const url = `ws://${process.env.STOMP_WS_ADDR || '127.0.0.1:15674'}/ws`;
const [host, port] = (process.env.STOMP_ADDR || '127.0.0.1:61613').split(':');

for (const [how, webSocketFactory] of [
  ['WebSocket', version => new WebSocket(url, version)],
  ['TCP', () => new TCPWrapper(host, Number(port))],
]) {
  for (const [title, run] of Object.entries(scenario)) {
    check(`stompjs, ${how}: ${title}`, () => run({stomp: require('@stomp/stompjs'), webSocketFactory, name, until, equal: assert.deepEqual}));
  }
}

const webConnect = protocols => new Promise((resolve, reject) => {
  const c = webstomp.client(url, {protocols, debug: false, heartbeat: {outgoing: 2000, incoming: 2000}});
  c.connect('guest', 'guest', frame => resolve(Object.assign(c, {frame})), reject);
});
global.WebSocket = WebSocket;

check('webstomp-client: send, subscribe, ack, nack, transactions, heart-beats', async () => {
  const c = await webConnect(['v10.stomp', 'v11.stomp', 'v12.stomp']);
  assert.deepEqual([c.frame.headers.version, c.frame.headers['heart-beat'], c.version], ['1.2', '2000,2000', c.version]);
  const queue = `/queue/${name('webstomp')}`;
  const got = [];
  const s = c.subscribe(queue, m => got.push(m), {ack: 'client-individual'});
  c.send(queue, 'grüße', {color: 'red', persistent: true});
  await until(() => got.length === 1, 'the message');
  assert.deepEqual([got[0].body, got[0].headers.color, got[0].headers.persistent], ['grüße', 'red', 'true']);
  got[0].nack();
  await until(() => got.length === 2, 'the message again');
  assert.equal(got[1].headers.redelivered, 'true');
  got[1].ack();
  const tx = c.begin();
  c.send(queue, 'later', {transaction: tx.id});
  const aborted = c.begin();
  c.send(queue, 'never', {transaction: aborted.id});
  aborted.abort();
  await new Promise(resolve => setTimeout(resolve, 4500)); // a few heart-beats
  assert.equal(got.length, 2);
  tx.commit();
  await until(() => got.length === 3, 'the message of the transaction');
  got[2].ack();
  s.unsubscribe();
  await new Promise(resolve => c.disconnect(resolve));
});

check('webstomp-client: a wrong password', async () => {
  const c = webstomp.client(url, {debug: false});
  const frame = await new Promise((resolve, reject) => c.connect('guest', 'wrong', reject, resolve));
  assert.equal(frame.headers.message, 'Bad CONNECT');
});

check('a WebSocket that is none', async () => {
  const raw = net.connect(Number(url.match(/:(\d+)\//)[1]), '127.0.0.1');
  raw.end('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  let answer = '';
  for await (const piece of raw) answer += piece;
  assert.match(answer, /^HTTP\/1.1 404 /);
});

main();
