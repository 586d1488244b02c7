'use strict';

// The web page in a real browser, as a person uses it: signing in, declaring a queue, publishing while another tab is
// open and sees the count change by itself, looking, replaying, purging, by keyboard and on a narrow screen, with the console watched for complaints.

const {check, main} = require('./check');
const {open} = require('./browser');

const base = `http://${process.env.HTTP_ADDR || '127.0.0.1:15672'}`;
const run = Math.random().toString(36).slice(2);
const queue = `interop.page.${run}.<b>"`;
const place = '?' + new URLSearchParams({vhost: '/', name: queue});
const ready = count => `document.querySelector('#ready')?.textContent === '${count}'`;

(async () => {
  const b = await open(process.argv[2] || 'chromium');
  try {
    check('a page asks to sign in, and then shows itself', async () => {
      await b.go(`${base}/queues`);
      await b.until(`location.pathname === '/login'`, 'the form to sign in');
      await b.submit('main form', {name: 'guest', password: 'wrong'});
      if (!await b.evaluate(`document.querySelector('.wrong').textContent.includes('wrong')`)) throw new Error('a wrong password is not told');
      await b.submit('main form', {name: 'guest', password: 'guest'});
      await b.until(`location.pathname === '/queues' && document.querySelector('h1').textContent === 'Queues'`, 'the queues');
      if (await b.evaluate('document.cookie') !== '') throw new Error('a script reads the cookie');
      b.complaints.length = 0; // the 401 of the wrong password
    });
    check('a queue is declared, and its name is no markup', async () => {
      await b.submit('form[action="/queues/declare"]', {name: queue, arguments: 'x-retention=1h'});
      await b.until(`document.querySelector('h1').textContent === ${JSON.stringify(queue)}`, 'the page of the queue');
      await b.until(ready(0), 'no message');
    });
    check('the count changes by itself when somebody publishes', async () => {
      await b.evaluate('window.same = true');
      const answer = await fetch(`${base}/api/exchanges/%2F/amq.default/publish`, {method: 'POST', headers: {Authorization: 'Basic ' + Buffer.from('guest:guest').toString('base64')},
        body: JSON.stringify({properties: {headers: {tenant: 'acme'}}, routing_key: queue, payload: '<script>window.hit = true</script>', payload_encoding: 'string'})});
      if (answer.status !== 200) throw new Error(`publish: ${answer.status}`);
      await b.until(ready(1), 'the count of 1');
      if (!await b.evaluate('window.same')) throw new Error('the page was loaded anew');
      await b.until(`document.querySelectorAll('.chart path.line').length > 0`, 'a line in a chart');
    });
    check('a message is published by the form', async () => {
      await b.submit(`form[action^="/queue/publish"]`, {payload: '{"n": 1}', headers: 'tenant=umbrella'});
      await b.until(ready(2), 'the count of 2');
    });
    check('messages are looked at without being taken, and are no markup', async () => {
      await b.go(`${base}/messages${place}&header=tenant:acme`);
      await b.until(`document.querySelectorAll('details.message').length === 1`, 'the one message');
      await b.evaluate(`document.querySelector('details.message').open = true`);
      if (await b.evaluate('window.hit === true')) throw new Error('a payload was run');
      if (!await b.evaluate(`document.querySelector('details.message pre').textContent.includes('<script>')`)) throw new Error('the payload is not shown as it is');
    });
    check('messages are replayed into the queue again', async () => {
      await b.go(`${base}/replay${place}`);
      await b.leaving(() => b.evaluate(`(() => { const f = document.querySelector('main form'); f.elements.queue.value = ${JSON.stringify(queue)}; f.elements.limit.value = 2; f.requestSubmit(f.querySelector('button.main')); })()`));
      await b.until(`document.querySelector('#progress h2')?.textContent.startsWith('done')`, 'the end of the job');
      await b.go(`${base}/queue${place}`);
      await b.until(ready(4), 'the count of 4');
    });
    check('a queue is purged after it was asked whether it shall', async () => {
      await b.leaving(() => b.evaluate(`document.querySelector('form[action^="/queue/purge"] button').click()`));
      await b.until(ready(0), 'the count of 0');
    });
    check('keys lead to pages and to the field that finds names', async () => {
      await b.leaving(async () => { await b.key('g'); await b.key('e'); });
      await b.until(`location.pathname === '/exchanges'`, 'the exchanges');
      await b.key('/');
      await b.until(`document.activeElement.name === 'name'`, 'the field');
      await b.evaluate('document.activeElement.blur()');
      await b.key('?');
      await b.until(`document.querySelector('#help').open`, 'the list of keys');
    });
    check('the theme follows the system, and the switch', async () => {
      await b.go(`${base}/`);
      const ground = () => b.evaluate('getComputedStyle(document.body).backgroundColor');
      await b.theme('light');
      const light = await ground();
      await b.theme('dark');
      if (await ground() === light) throw new Error('it does not follow the system');
      await b.evaluate(`document.querySelector('#theme').click()`);
      if (await ground() !== light) throw new Error('the switch does not hold');
    });
    check('no page is wider than a narrow screen, and no button is beyond it', async () => {
      await b.size(390, 800);
      for (const path of ['/', '/queues', `/queue${place}`, '/exchanges', '/exchange?vhost=/&name=amq.topic', '/groups', '/connections', '/policies', '/users', '/user?name=guest', '/log', '/audit', `/messages${place}`, `/replay${place}`, `/redrive${place}`, '/jobs']) {
        await b.go(base + path);
        const width = await b.evaluate('document.documentElement.scrollWidth');
        if (width > 390) throw new Error(`${path} is ${width} wide`);
        const beyond = await b.evaluate(`[...document.querySelectorAll('main button')].find(e => e.getBoundingClientRect().right > innerWidth)?.textContent`);
        if (beyond) throw new Error(`${path}: one has to scroll to ${beyond}`);
      }
    });
    check('a queue is deleted by typing its name', async () => {
      await b.go(`${base}/queue${place}`);
      await b.submit('form[action^="/queue/delete"]', {confirm: queue});
      await b.until(`location.pathname === '/queues'`, 'the queues');
    });
    check('the browser has nothing to complain about', async () => {
      if (b.complaints.length) throw new Error(b.complaints.slice(0, 3).join('; '));
    });
    process.on('exit', b.close);
    await main();
  } catch (error) {
    b.close();
    throw error;
  }
})().catch(error => { console.log(`FAIL the page: ${error.message}`); process.exit(1); });
