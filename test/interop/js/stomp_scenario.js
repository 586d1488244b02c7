'use strict';

// What stompjs does here and in a page. Each part is given stomp (the library), webSocketFactory (the subprotocols it is
// called with are those of the versions that are wanted), name, until and equal.

const VERSIONS = ['1.0', '1.1', '1.2'];

// connect resolves with a client that is signed in.
function connect(t, options = {}, versions = VERSIONS) {
  return new Promise((resolve, reject) => {
    const c = new t.stomp.Client({
      webSocketFactory: () => t.webSocketFactory(versions.map(v => `v${v.replace('.', '')}.stomp`)),
      connectHeaders: {login: 'guest', passcode: 'guest'}, stompVersions: new t.stomp.Versions(versions),
      reconnectDelay: 0, heartbeatIncoming: 0, heartbeatOutgoing: 0, ...options,
    });
    c.onConnect = frame => resolve(Object.assign(c, {connected0: frame}));
    c.onStompError = frame => reject(Object.assign(new Error(frame.headers.message), {frame}));
    c.activate();
  });
}

// receipt resolves when the broker has done what the frame asks for.
const receipt = (c, act) => new Promise(resolve => {
  const id = `r${Math.random()}`;
  c.watchForReceipt(id, resolve);
  act({receipt: id});
});

const scenario = {
  'each version': async t => {
    for (const version of VERSIONS) {
      const c = await connect(t, {}, [version]);
      t.equal(c.connected0.headers.version, version);
      const queue = `/queue/${t.name(`v${version}`)}`, got = [], color = version === '1.2' ? 'a:b\\ \nd' : 'x'; // before 1.2 stompjs escapes nothing
      c.subscribe(queue, m => got.push(m), {'auto-delete': 'true'});
      await receipt(c, headers => c.publish({destination: queue, body: 'grüße', headers: {...headers, 'auto-delete': 'true', color}}));
      await t.until(() => got.length === 1, 'the message');
      t.equal([got[0].body, got[0].headers.color, got[0].headers.destination], ['grüße', color, queue]);
      await c.deactivate();
    }
  },
  'bodies of any bytes and sizes': async t => {
    const c = await connect(t);
    const queue = `/queue/${t.name('bytes')}`, got = [];
    c.subscribe(queue, m => got.push(m), {'auto-delete': 'true'});
    const all = Uint8Array.from({length: 256}, (_, i) => i), large = new Uint8Array(1 << 20).map((_, i) => i * 7), text = 'ä€𝄞'.repeat(20000);
    c.publish({destination: queue, binaryBody: all, headers: {'auto-delete': 'true'}});
    c.publish({destination: queue, binaryBody: large, headers: {'auto-delete': 'true'}});
    c.publish({destination: queue, body: text, headers: {'auto-delete': 'true'}});
    c.publish({destination: queue, body: '', headers: {'auto-delete': 'true'}});
    await t.until(() => got.length === 4, 'the messages');
    t.equal(Array.from(got[0].binaryBody), Array.from(all));
    t.equal([got[1].binaryBody.length, got[1].binaryBody.every((b, i) => b === large[i])], [large.length, true]);
    t.equal([got[2].body === text, got[3].body], [true, '']);
    await c.deactivate();
  },
  'acks, nacks, prefetch, transactions': async t => {
    const c = await connect(t);
    const queue = `/queue/${t.name('work')}`, got = [];
    for (const body of ['1', '2', '3', '4']) c.publish({destination: queue, body});
    c.subscribe(queue, m => got.push(m), {ack: 'client', 'prefetch-count': '2'});
    await t.until(() => got.length === 2, 'two messages');
    got[1].ack(); // and the one before
    await t.until(() => got.length === 4, 'four messages');
    const tx = c.begin();
    got[3].ack({transaction: tx.id});
    c.publish({destination: queue, body: '5', headers: {transaction: tx.id}});
    tx.commit();
    await t.until(() => got.length === 5, 'the message of the transaction');
    got[4].nack();
    await t.until(() => got.length === 6, 'it comes again');
    t.equal([got.map(m => m.body).join(''), got[5].headers.redelivered], ['123455', 'true']);
    got[5].ack();
    await c.deactivate();
  },
  'topics, and many messages': async t => {
    const c = await connect(t);
    const got = [], topic = t.name('topic');
    await receipt(c, headers => c.subscribe(`/topic/${topic}.*`, m => got.push(m.body), headers));
    for (let i = 0; i < 2000; i++) c.publish({destination: `/topic/${topic}.${i % 3}`, body: String(i)});
    await t.until(() => got.length === 2000, 'the messages');
    t.equal(got, Array.from({length: 2000}, (_, i) => String(i)));
    await c.deactivate();
  },
  'request and reply': async t => {
    const server = await connect(t), c = await connect(t);
    const queue = `/queue/${t.name('rpc')}`;
    server.subscribe(queue, m => server.publish({destination: m.headers['reply-to'], body: m.body.toUpperCase(), headers: {'correlation-id': m.headers['correlation-id']}}));
    let reply;
    c.onUnhandledMessage = m => { reply = m; };
    c.publish({destination: queue, body: 'hello', headers: {'reply-to': '/temp-queue/mine', 'correlation-id': '7'}});
    await t.until(() => reply, 'the reply');
    t.equal([reply.body, reply.headers['correlation-id'], reply.headers.subscription], ['HELLO', '7', '/temp-queue/mine']);
    await Promise.all([server.deactivate(), c.deactivate()]);
  },
  'heart-beats keep it open': async t => {
    // A machine that is busy may keep one of the two from its heart-beats for a while: more slowly, then.
    for (let every = 500; ; every *= 2) {
      let lost = 0;
      const c = await connect(t, {heartbeatIncoming: every, heartbeatOutgoing: every, onHeartbeatLost: () => lost++});
      await new Promise(resolve => setTimeout(resolve, 5 * every));
      const open = c.connected && lost === 0;
      await c.deactivate();
      if (open) break;
      t.equal(every < 4000, true);
    }
  },
  'errors say why, and end it': async t => {
    const wrong = await connect(t, {connectHeaders: {login: 'guest', passcode: 'wrong'}}).catch(e => e);
    t.equal(wrong.message, 'Bad CONNECT');
    const c = await connect(t);
    let error, closed = false;
    c.onStompError = frame => { error = frame; };
    c.onWebSocketClose = () => { closed = true; };
    c.publish({destination: '/nowhere/at-all', body: 'x'});
    await t.until(() => error && closed, 'the error and the end');
    t.equal(error.headers.message, 'Unknown destination');
    await c.deactivate();
  },
};

module.exports = {scenario};
