// Runs ioredis's cluster client against a server whose shards are nodes: single commands, pipelines,
// transactions, pub/sub, shard channels, scripts, walks over all keys. Prints OK, or the first thing
// that went wrong. `scripts/cluster-clients` starts it.
//
//   node cluster.mjs PORT
import Redis from 'ioredis';
const port = Number(process.argv[2]);
const fail = (why) => { console.error('FAILED', why); process.exit(1); };
const check = (what, isRight) => { if (!isRight) fail(what); };
const until = async (what, check, ms = 10000) => {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) fail(what);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
};
const KEYS = 1000;
const numbers = [...Array(KEYS).keys()];
const client = new Redis.Cluster([{ host: '127.0.0.1', port }], { shardedSubscribers: true });
await new Promise((resolve, reject) => { client.once('ready', resolve); client.once('error', reject); });
const nodes = client.nodes('master');
console.log('ioredis: nodes', nodes.map(node => node.options.port).sort().join(' '));
check('the nodes', nodes.length > 1);
const moved = async () => {
  const text = await nodes[0].info('errorstats');
  return Number(/errorstat_MOVED:count=(\d+)/.exec(text)?.[1] ?? 0);
};
const before = await moved();
await Promise.all(nodes.map(node => node.flushall()));
await Promise.all(numbers.map(n => client.set(`key:${n}`, n)));
const values = await Promise.all(numbers.map(n => client.get(`key:${n}`)));
check('GET', values.every((value, n) => value === String(n)));
const sizes = await Promise.all(nodes.map(node => node.dbsize()));
check('DBSIZE', sizes.reduce((a, b) => a + b) === KEYS && sizes.every(size => size > 0));

// A pipeline of ioredis goes to one node, so its keys share a tag.
const pipe = client.pipeline();
for (let n = 0; n < 100; n++) pipe.set(`{p}${n}`, n).incr(`{p}${n}`);
const replies = await pipe.exec();
check('a pipeline', replies.length === 200 && replies.every(([error]) => error === null));
const exec = await client.multi().set('{t}a', 1).incr('{t}a').get('{t}b').exec();
check('a transaction', JSON.stringify(exec) === JSON.stringify([[null, 'OK'], [null, 2], [null, null]]));
const crossed = await client.mget('key:1', 'key:2', 'key:3', 'key:4').catch(error => error.message);
check('CROSSSLOT', String(crossed).startsWith('CROSSSLOT') || String(crossed).includes('same slot')
  || Array.isArray(crossed));

client.defineCommand('take', { numberOfKeys: 1, lua: "return redis.call('get', KEYS[1])" });
const taken = await Promise.all(numbers.slice(0, 100).map(n => client.take(`key:${n}`)));
check('a script', taken.every((value, n) => value === String(n)));

const got = [];
client.on('message', (channel, message) => got.push([channel, message]));
await client.subscribe('news');
await client.publish('news', 'hello');
await until('a message', () => got.length === 1 && got[0][1] === 'hello');

let found = 0;
for (const node of nodes) {
  let cursor = '0';
  do {
    const [next, keys] = await node.scan(cursor, 'MATCH', 'key:*', 'COUNT', 100);
    found += keys.length;
    cursor = next;
  } while (cursor !== '0');
}
check('SCAN', found === KEYS);
console.log('ioredis: redirections', (await moved()) - before);
await Promise.all(nodes.map(node => node.flushall()));
console.log('ioredis: OK');
process.exit(0);
