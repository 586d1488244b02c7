'use strict';

// The tutorials and examples that come with amqplib, unedited, each as a process of its own.
// Only the port that they do not name is ours (port.js).

const {spawn} = require('node:child_process');
const path = require('node:path');
const amqp = require('amqplib');
const {amqpURL, assert, check, main, until} = require('./check');

const EXAMPLES = path.join(path.dirname(require.resolve('amqplib')), 'examples');
const running = new Set();

// start runs an example. Its lines, those on standard error too, are in `lines`.
function start(file, ...args) {
  const child = spawn(process.execPath, ['--require', path.join(__dirname, 'port.js'), path.join(EXAMPLES, file), ...args],
    {stdio: ['ignore', 'pipe', 'pipe']});
  const program = {lines: [], code: undefined};
  running.add(child);
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream.on('data', data => {
      const parts = (rest + data).split('\n');
      rest = parts.pop();
      program.lines.push(...parts.map(line => line.trim()));
    });
  }
  child.on('close', (code, signal) => { program.code = signal || code; running.delete(child); });
  const told = () => `${file} said ${JSON.stringify(program.lines)}, ended: ${program.code}`;
  program.says = async (...want) => {
    await until(() => want.every(line => program.lines.includes(line)) || program.code !== undefined, told()).catch(() => {});
    for (const line of want) assert(program.lines.includes(line), `no ${JSON.stringify(line)}: ${told()}`);
  };
  program.ends = async code => {
    await until(() => program.code !== undefined, `the end of ${file}`).catch(() => {});
    assert.equal(program.code, code, told());
  };
  // As Ctrl-C does it. All of these close their connection then, and end.
  program.stop = async () => { child.kill('SIGINT'); await program.ends(0); };
  program.kill = async () => { child.kill('SIGKILL'); await program.ends('SIGKILL'); };
  return program;
}

async function waiting(file, ...args) {
  const program = start(file, ...args);
  await until(() => program.lines.some(line => line.includes('To exit press')) || program.code !== undefined, `${file} to wait for work`);
  return program;
}

async function sent(line, file, ...args) {
  const program = start(file, ...args);
  await program.says(line);
  await program.ends(0);
}

// The examples share names, with other settings: each check leaves nothing behind.
async function without(...names) {
  const connection = await amqp.connect(amqpURL);
  const ch = await connection.createChannel();
  for (const name of names) {
    await ch.deleteQueue(name);
    await ch.deleteExchange(name);
  }
  await connection.close();
}

async function ready(queue) {
  const connection = await amqp.connect(amqpURL);
  const ch = await connection.createChannel();
  const {messageCount} = await ch.checkQueue(queue);
  await connection.close();
  return messageCount;
}

function tutorials(api) {
  const callbacks = api.includes('callback');
  const title = what => `tutorial ${what}${callbacks ? ', callback API' : ''}`;
  const emitted = (key, text) => `[x] Sent ${callbacks ? '' : `${key}:`}'${text}'`;

  check(title('1, hello world'), async () => {
    await without('hello');
    const receive = await waiting(`${api}receive.js`);
    await sent("[x] Sent 'Hello World!'", `${api}send.js`);
    await receive.says("[x] Received 'Hello World!'");
    await receive.stop();
  });

  check(title('2, work queues; a worker dies'), async () => {
    await without('task_queue');
    const worker = await waiting(`${api}worker.js`);
    await sent("[x] Sent 'long ..'", `${api}new_task.js`, 'long', '..');
    await worker.says("[x] Received 'long ..'");
    await worker.kill();
    await until(async () => await ready('task_queue') === 1, 'the task to come back');
    await sent("[x] Sent 'short'", `${api}new_task.js`, 'short');
    const others = await Promise.all([1, 2].map(() => waiting(`${api}worker.js`)));
    const lines = () => others.flatMap(other => other.lines);
    await until(() => lines().filter(line => line === '[x] Done').length === 2, 'both tasks');
    for (const task of ['long ..', 'short']) assert(lines().includes(`[x] Received '${task}'`), task);
    await Promise.all(others.map(other => other.stop()));
    assert.equal(await ready('task_queue'), 0);
  });

  check(title('3, publish and subscribe'), async () => {
    await without('logs');
    const two = await Promise.all([1, 2].map(() => waiting(`${api}receive_logs.js`)));
    await sent("[x] Sent 'info: Hello World!'", `${api}emit_log.js`);
    for (const one of two) await one.says("[x] 'info: Hello World!'");
    await Promise.all(two.map(one => one.stop()));
  });

  check(title('4, routing'), async () => {
    await without('direct_logs');
    const [bad, all] = await Promise.all([['error'], ['info', 'warning', 'error']]
      .map(keys => waiting(`${api}receive_logs_direct.js`, ...keys)));
    await sent(emitted('info', 'fine'), `${api}emit_log_direct.js`, 'info', 'fine');
    await sent(emitted('error', 'not at all'), `${api}emit_log_direct.js`, 'error', 'not at all');
    await bad.says("[x] error:'not at all'");
    await all.says("[x] info:'fine'", "[x] error:'not at all'");
    await Promise.all([bad.stop(), all.stop()]);
    assert(!bad.lines.includes("[x] info:'fine'"), 'info was not asked for');
  });

  check(title('5, topics'), async () => {
    await without('topic_logs');
    const [kern, critical, all] = await Promise.all([['kern.*'], ['*.critical', 'x.#'], ['#']]
      .map(keys => waiting(`${api}receive_logs_topic.js`, ...keys)));
    const keys = ['kern.critical', 'kern.info', 'x.y.z'];
    for (const key of keys) await sent(emitted(key, 'm'), `${api}emit_log_topic.js`, key, 'm');
    await kern.says("[x] kern.critical:'m'", "[x] kern.info:'m'");
    await critical.says("[x] kern.critical:'m'", "[x] x.y.z:'m'");
    await all.says(...keys.map(key => `[x] ${key}:'m'`));
    await Promise.all([kern.stop(), critical.stop(), all.stop()]);
    assert.deepEqual([kern, critical, all].map(p => p.lines.filter(line => line.endsWith(":'m'")).length), [2, 2, 3]);
  });

  check(title('6, remote procedure calls'), async () => {
    await without('rpc_queue');
    const server = await waiting(`${api}rpc_server.js`);
    for (const [n, fib] of [[10, 55], [30, 832040]]) await sent(`[.] Got ${fib}`, `${api}rpc_client.js`, n);
    await server.says('[.] fib(10)', '[.] fib(30)');
    await server.stop();
  });
}

tutorials('tutorials/');
tutorials('tutorials/callback_api/');

check('example: direct reply-to', async () => {
  await without('rpc_queue');
  const server = await waiting('direct_reply_to_server.js');
  await sent('[.] pong', 'direct_reply_to_client.js');
  await server.says('[X] ping');
  await server.stop();
  await without('rpc_queue');
});

check('example: headers exchange', async () => {
  await without('matching exchange');
  const program = start('headers.js');
  await until(() => program.lines.filter(line => line === 'hello').length === 2, 'both that match');
  await program.stop();
  assert(!program.lines.includes('lost'));
  await without('matching exchange');
});

check('example: confirms', () => sent('All messages done', 'waitForConfirms.js'));

check('example: generators', async () => {
  await without('hello');
  await sent("[x] Sent 'Hello World!'", 'send_generators.js');
  assert.equal(await ready('hello'), 1);
  const program = start('receive_generator.js');
  await until(() => program.lines.filter(line => line.includes('consuming message')).length === 2, 'both messages');
  await program.kill();
  await without('hello');
});

check('example: a stream, read twice', async () => {
  await without('my_first_stream');
  const sender = start('stream_queues/send_stream.js');
  await sender.ends(0);
  const sentLine = sender.lines.find(line => line.includes('Hello World!'));
  for (let i = 0; i < 2; i++) {
    const reader = await waiting('stream_queues/receive_stream.js');
    await reader.says(sentLine.replace('Sent', 'Received'));
    await reader.kill(); // its Ctrl-C does not work
  }
  await without('my_first_stream');
});

process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
main();
