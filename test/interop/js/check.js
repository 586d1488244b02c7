'use strict';

// What the Node.js programs share: addresses, named checks, a time limit.
// Output is one line a check, `PASS name (seconds)` or `FAIL name: reason`.
// AMQP_ADDR, KAFKA_ADDR and KAFKA_SASL, KAFKA_SCRAM (user:password) come from the environment.

const assert = require('node:assert/strict');
const path = require('node:path');
const {randomBytes} = require('node:crypto');

// Limits are what a program takes at most on a machine of its own. One that does other things beside it is
// given this many times as long.
const PATIENCE = 3;

const RUN = randomBytes(4).toString('hex');
const PROGRAM = path.basename(process.argv[1], '.js');
const checks = [];

const name = what => `interop.${PROGRAM}.${what}.${RUN}`;
const check = (title, run, seconds = 40) => checks.push({title, run, seconds: seconds * PATIENCE});
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

async function until(condition, what, seconds = 15) {
  seconds *= PATIENCE;
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(20);
  }
}

async function one({title, run, seconds}) {
  const start = Date.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the check's ${seconds} s are over`)), seconds * 1000);
  });
  try {
    await Promise.race([run(), late]);
    console.log(`PASS ${title} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    console.log(`FAIL ${title}: ${String(error.message || error).replace(/\s+/g, ' ').slice(0, 400)}`);
    console.error(error);
    return false;
  } finally {
    clearTimeout(timer);
  }
}

// Checks that mostly wait, and share nothing, may run together.
async function main({together} = {}) {
  const wanted = checks.filter(({title}) => title.includes(process.env.ONLY || ''));
  const passed = together ? await Promise.all(wanted.map(one)) : [];
  if (!together) for (const item of wanted) passed.push(await one(item));
  process.exit(passed.every(ok => ok) ? 0 : 1);
}

// Makes a user of this run, with the password "secret" and all rights in /. Nobody else is told what comes for it.
async function user(who) {
  const put = async (path, body) => {
    const headers = {Authorization: `Basic ${btoa('guest:guest')}`, 'Content-Type': 'application/json'};
    const answer = await fetch(`http://${process.env.HTTP_ADDR}/api/${path}`, {method: 'PUT', headers, body: JSON.stringify(body)});
    if (!answer.ok) throw new Error(`PUT ${path}: ${answer.status}`);
  };
  await put(`users/${who}-${RUN}`, {password: 'secret', tags: ''});
  await put(`permissions/%2F/${who}-${RUN}`, {configure: '.*', write: '.*', read: '.*'});
  return `${who}-${RUN}`;
}

module.exports = {
  assert, check, main, name, sleep, until, user,
  amqpURL: `amqp://guest:guest@${process.env.AMQP_ADDR || '127.0.0.1:5672'}/`,
  kafkaAddr: process.env.KAFKA_ADDR || '127.0.0.1:9092',
  kafkaSASL: process.env.KAFKA_SASL || '',
  kafkaSCRAM: process.env.KAFKA_SCRAM || '',
};
