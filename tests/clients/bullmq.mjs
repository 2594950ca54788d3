// Runs BullMQ, with its own scripts and workers, against a server: plain, delayed, prioritised,
// repeated, rate-limited and retried jobs, a flow, and a worker that is killed in the middle of a
// job. Prints OK, or the first thing that went wrong. `scripts/bullmq` starts it.
//
//   node bullmq.mjs PORT [JOBS]      JOBS: number of jobs of the measurement at the end
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Queue, Worker, QueueEvents, FlowProducer } from 'bullmq';
const port = Number(process.argv[2] || 6379);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };

// The worker that is killed: it takes a job and never ends it.
if (process.argv[3] === 'victim') {
  new Worker('killed', async () => {
    console.log('taken');
    await new Promise(() => setInterval(() => {}, 1000));
  }, { connection, lockDuration: 1000, stalledInterval: 500 });
  await new Promise(() => {});
}

const fail = (why) => { console.error('FAILED', why); process.exit(1); };
const until = async (what, check, ms = 20000) => {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) fail(what);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
};
const queue = new Queue('work', { connection });
const events = new QueueEvents('work', { connection });
await events.waitUntilReady();
const seen = [];
const failedOnce = new Set();
const worker = new Worker('work', async job => {
  seen.push(job.name);
  if (job.name === 'retry' && !failedOnce.has(job.id)) {
    failedOnce.add(job.id);
    throw new Error('first time');
  }
  await job.updateProgress(50);
  await job.log('line');
  return { done: job.data.n };
}, { connection, concurrency: 5 });
await worker.waitUntilReady();
const t0 = Date.now();
const many = (count, name) => Array.from({ length: count }, (_, n) => ({ name, data: { n } }));
const jobs = await queue.addBulk(many(300, 'plain'));
await Promise.all(jobs.map(job => job.waitUntilFinished(events, 20000)));
console.log('300 plain jobs in', Date.now() - t0, 'ms');
const delayed = await queue.add('delayed', { n: 1 }, { delay: 700 });
const d0 = Date.now();
await delayed.waitUntilFinished(events, 10000);
if (Date.now() - d0 < 600) fail('delayed job came early');
await worker.pause();
for (const [name, priority] of [['low', 10], ['high', 1], ['middle', 5]]) {
  await queue.add(name, {}, { priority });
}
const from = seen.length;
worker.resume();
await until('prioritised jobs', () => seen.length >= from + 3);
const order = seen.slice(from).join(' ');
if (order !== 'high middle low') fail('priorities: ' + order);
const backoff = { type: 'exponential', delay: 100 };
const retry = await queue.add('retry', { n: 2 }, { attempts: 3, backoff });
await retry.waitUntilFinished(events, 10000);
await queue.upsertJobScheduler('every', { every: 200, limit: 3 }, { name: 'repeated', data: {} });
await until('repeated jobs', () => seen.filter(n => n === 'repeated').length >= 3);
const limited = new Queue('limited', { connection });
let ran = 0;
const limiter = { max: 5, duration: 500 };
const slow = new Worker('limited', async () => { ran++; }, { connection, limiter });
const l0 = Date.now();
await limited.addBulk(many(20, 'limited'));
await until('rate limited jobs', () => ran >= 20);
if (Date.now() - l0 < 1400) fail('the rate limit was ignored: ' + (Date.now() - l0));
console.log('rate limit: 20 jobs in', Date.now() - l0, 'ms');
const flow = new FlowProducer({ connection });
const parents = [];
const parentWorker = new Worker('parents', async job => {
  parents.push(Object.keys(await job.getChildrenValues()).length);
}, { connection });
const children = many(3, 'child').map(child => ({ ...child, queueName: 'work' }));
await flow.add({ name: 'parent', queueName: 'parents', data: {}, children });
await until('flow', () => parents.length === 1);
if (parents[0] !== 3) fail('flow children ' + parents[0]);
const killed = new Queue('killed', { connection });
await killed.add('orphan', {});
const victim = spawn(process.execPath, [fileURLToPath(import.meta.url), String(port), 'victim']);
await new Promise(resolve => victim.stdout.on('data', resolve));
victim.kill('SIGKILL');
let rescued = 0;
const heir = new Worker('killed', async () => { rescued++; },
  { connection, lockDuration: 1000, stalledInterval: 500 });
await until('the job of a killed worker', () => rescued === 1);

const counts = await queue.getJobCounts();
console.log(JSON.stringify(counts));
const bench = new Queue('bench', { connection });
const count = Number(process.argv[3] || 3000);
let benched = 0;
const benchWorker = new Worker('bench', async () => { benched++; }, { connection, concurrency: 20 });
const b0 = Date.now();
for (let at = 0; at < count; at += 100) await bench.addBulk(many(Math.min(100, count - at), 'bench'));
await until('bench', () => benched >= count, 60000);
console.log('bench', Math.round(count / ((Date.now() - b0) / 1000)), 'jobs/s');
await Promise.all([worker, slow, parentWorker, heir, benchWorker].map(w => w.close()));
await Promise.all([queue, limited, killed, bench, events, flow].map(q => q.close()));
console.log('OK');
process.exit(0);
