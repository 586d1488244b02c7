'use strict';

// The scenario of stompjs in a page of a real browser: its own WebSocket, its own limits, an origin of its own. This
// program serves the page, starts the browser and prints what the page reports.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const http = require('node:http');
const {spawn} = require('node:child_process');

const [browser] = process.argv.slice(2);
const bundle = path.join(path.dirname(require.resolve('@stomp/stompjs')), 'stomp.umd.js');
const url = `ws://${process.env.STOMP_WS_ADDR || '127.0.0.1:15674'}/ws`;

const PAGE = `<!doctype html><meta charset="utf-8"><script src="/stomp.js"></script><script>var module = {}</script><script src="/scenario.js"></script><script>
const run = Math.random().toString(36).slice(2), sleep = ms => new Promise(r => setTimeout(r, ms));
async function until(condition, what) {
  for (const end = Date.now() + 15000; !condition(); await sleep(20)) if (Date.now() > end) throw new Error(what + ': not within 15 s');
}
const equal = (got, want) => {
  const [a, b] = [got, want].map(v => JSON.stringify(v));
  if (a !== b) throw new Error('got ' + a.slice(0, 200) + ', want ' + b.slice(0, 200));
};
(async () => {
  const lines = [];
  for (const [title, part] of Object.entries(module.exports.scenario)) {
    const begun = Date.now();
    try {
      await part({stomp: StompJs, webSocketFactory: versions => new WebSocket(${JSON.stringify(url)}, versions), name: what => 'interop.page.' + what + '.' + run, until, equal});
      lines.push('PASS ' + title + ' (' + ((Date.now() - begun) / 1000).toFixed(1) + ' s)');
    } catch (error) {
      lines.push('FAIL ' + title + ': ' + String(error && error.message || error).replace(/\\s+/g, ' '));
    }
  }
  await fetch('/result', {method: 'POST', body: navigator.userAgent + '\\n' + lines.join('\\n')});
})().catch(error => fetch('/result', {method: 'POST', body: 'FAIL the page: ' + error}));
</script>`;

const files = {'/': ['text/html', () => PAGE], '/stomp.js': ['text/javascript', () => fs.readFileSync(bundle)], '/scenario.js': ['text/javascript', () => fs.readFileSync(path.join(__dirname, 'stomp_scenario.js'))]};

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'page-'));
let child;
const end = code => { // the profile goes with the stage's own folder: processes of the browser that are still ending write there
  if (child) child.kill('SIGKILL');
  process.exit(code);
};

const server = http.createServer((request, response) => {
  if (request.url === '/result') {
    let body = '';
    request.on('data', piece => { body += piece; });
    request.on('end', () => {
      response.end();
      const [agent, ...lines] = body.split('\n');
      console.log(`in ${agent}`);
      for (const line of lines) console.log(line);
      end(lines.length > 0 && lines.every(line => line.startsWith('PASS ')) ? 0 : 1);
    });
    return;
  }
  const file = files[request.url];
  response.writeHead(file ? 200 : 404, {'Content-Type': file ? file[0] : 'text/plain'});
  response.end(file ? file[1]() : '');
});

server.listen(0, '127.0.0.1', () => {
  child = spawn(browser, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', `--user-data-dir=${profile}`,
    `http://127.0.0.1:${server.address().port}/`], {stdio: ['ignore', 'ignore', 'inherit']});
  child.on('error', error => { console.log(`FAIL ${browser}: ${error.message}`); end(1); });
  child.on('exit', code => { console.log(`FAIL ${browser} ended with ${code}`); end(1); });
});
setTimeout(() => { console.log('FAIL the page reported nothing within 90 s'); end(1); }, 90000);
