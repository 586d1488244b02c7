'use strict';

// A real browser, driven over its debugging protocol: a page that is opened, looked at, filled in and photographed.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {spawn} = require('node:child_process');
const WebSocket = require('ws');

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Starts the browser and opens an empty page in it. */
async function open(program) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'page-'));
  const child = spawn(program, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--hide-scrollbars', '--remote-debugging-port=0',
    `--user-data-dir=${profile}`, 'about:blank'], {stdio: 'ignore'});
  const close = () => {
    child.kill('SIGKILL');
    try {
      fs.rmSync(profile, {recursive: true, force: true, maxRetries: 20, retryDelay: 50});
    } catch { /* a process of the browser that is still ending writes there; the folder is under the stage's own */ }
  };
  try {
    const file = path.join(profile, 'DevToolsActivePort');
    let port = '';
    for (const end = Date.now() + 20000; !port; await sleep(50)) {
      if (Date.now() > end || child.exitCode !== null) throw new Error('the browser does not start');
      if (fs.existsSync(file)) port = fs.readFileSync(file, 'utf8').split('\n')[0];
    }
    const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
    const page = await attach(targets.find(t => t.type === 'page').webSocketDebuggerUrl);
    return Object.assign(page, {close});
  } catch (error) {
    close();
    throw error;
  }
}

async function attach(url) {
  const socket = new WebSocket(url, {maxPayload: 64 << 20});
  await new Promise((resolve, reject) => { socket.once('open', resolve); socket.once('error', reject); });
  const waiting = new Map(), heard = [], complaints = [];
  let number = 0;
  socket.on('message', text => {
    const m = JSON.parse(text);
    if (m.id) {
      const {resolve, reject} = waiting.get(m.id);
      waiting.delete(m.id);
      return m.error ? reject(new Error(m.error.message)) : resolve(m.result);
    }
    if (m.method === 'Runtime.exceptionThrown') complaints.push(m.params.exceptionDetails.exception?.description || m.params.exceptionDetails.text);
    if (m.method === 'Log.entryAdded' && m.params.entry.level === 'error') complaints.push(`${m.params.entry.text} ${m.params.entry.url || ''}`);
    if (m.method === 'Page.javascriptDialogOpening') send('Page.handleJavaScriptDialog', {accept: true});
    for (const h of heard.splice(0)) h.method === m.method ? h.resolve(m.params) : heard.push(h);
  });
  const send = (method, params = {}) => new Promise((resolve, reject) => {
    waiting.set(++number, {resolve, reject});
    socket.send(JSON.stringify({id: number, method, params}));
  });
  const hear = method => new Promise(resolve => heard.push({method, resolve}));
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);

  /** What an expression is in the page. */
  const evaluate = async expression => {
    const {result, exceptionDetails} = await send('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description || exceptionDetails.text);
    return result.value;
  };
  /** Does something that leads to another page, and waits until that is there. */
  const leaving = async act => {
    const loaded = hear('Page.loadEventFired');
    await act();
    await Promise.race([loaded, sleep(15000).then(() => { throw new Error('no page within 15 s'); })]);
  };
  const until = async (expression, what, within = 15000) => {
    for (const end = Date.now() + within; !await evaluate(expression).catch(() => false); await sleep(50)) {
      if (Date.now() > end) throw new Error(`${what}: not within ${within / 1000} s`);
    }
  };
  return {
    send, evaluate, leaving, until, complaints,
    go: url => leaving(() => send('Page.navigate', {url})),
    /** Fills a form's fields by name, and sends it with the button that it has. */
    submit: (form, fields) => leaving(() => evaluate(`(() => {
      const form = document.querySelector(${JSON.stringify(form)});
      for (const [name, value] of Object.entries(${JSON.stringify(fields)})) { const f = form.elements[name]; f.type === 'checkbox' ? f.checked = value : f.value = value; }
      form.requestSubmit(form.querySelector('button'));
    })()`)),
    key: async text => {
      await send('Input.dispatchKeyEvent', {type: 'keyDown', text, key: text});
      await send('Input.dispatchKeyEvent', {type: 'keyUp', key: text});
    },
    size: (width, height) => send('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: false}),
    theme: name => send('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: name}]}),
    photograph: async () => Buffer.from((await send('Page.captureScreenshot', {captureBeyondViewport: true, format: 'png'})).data, 'base64'),
  };
}

module.exports = {open, sleep};
