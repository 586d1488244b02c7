'use strict';

// What both Node.js programs share: addresses, named checks, a time limit.
// Output is one line a check, `PASS name (seconds)` or `FAIL name: reason`.
// AMQP_ADDR, KAFKA_ADDR and KAFKA_SASL (user:password) come from the environment.

const assert = require('node:assert/strict');
const path = require('node:path');
const {randomBytes} = require('node:crypto');

const RUN = randomBytes(4).toString('hex');
const PROGRAM = path.basename(process.argv[1], '.js');
const checks = [];

const name = what => `interop.${PROGRAM}.${what}.${RUN}`;
const check = (title, run, seconds = 40) => checks.push({title, run, seconds});
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

async function until(condition, what, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(20);
  }
}

async function main() {
  let failed = 0;
  for (const {title, run, seconds} of checks) {
    if (process.env.ONLY && !title.includes(process.env.ONLY)) continue;
    const start = Date.now();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the check's ${seconds} s are over`)), seconds * 1000);
    });
    try {
      await Promise.race([run(), late]);
      console.log(`PASS ${title} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${title}: ${String(error.message || error).replace(/\s+/g, ' ').slice(0, 400)}`);
      console.error(error);
    }
    clearTimeout(timer);
  }
  process.exit(failed ? 1 : 0);
}

module.exports = {
  assert, check, main, name, sleep, until,
  amqpURL: `amqp://guest:guest@${process.env.AMQP_ADDR || '127.0.0.1:5672'}/`,
  kafkaAddr: process.env.KAFKA_ADDR || '127.0.0.1:9092',
  kafkaSASL: process.env.KAFKA_SASL || '',
};
