// Influx lines over HTTP and StatsD over UDP against the built binary: what was sent is in the store.
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { check, eventually, main, serve, temporaryFolder } from './support.mjs';

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-d',
    `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trimEnd().split('\n').filter(Boolean).map((line) => line.split('\t'));
}

const freeUdpPort = () => new Promise((resolve) => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1', () => {
    const { port } = socket.address();
    socket.close(() => resolve(port));
  });
});

await main({
  async 'Influx lines and StatsD are stored'() {
    const folder = temporaryFolder();
    const port = await freeUdpPort();
    writeFileSync(`${folder}/muster.yml`, `collector: {statsd_listen: '127.0.0.1:${port}', statsd_flush_seconds: 1}\n`);
    const server = await serve(`${folder}/muster`, ['--config', `${folder}/muster.yml`]);
    const stored = (model) => psql(`${folder}/muster`,
      `SELECT metric, sum(value), count(*) FROM v_sample_recent WHERE model = '${model}' GROUP BY metric ORDER BY metric`);

    const now = Date.now();
    // All arms at the same instants, oldest first: only so is a repeat sure to be known (docs/senders.md).
    let lines = '';
    for (let i = 0; i < 1000; ++i) lines += `latency,model=influx,arm=a${i % 10} p99=${i},n=${i}i,ok=t,note="no \\"number\\"" ${now - (99 - Math.floor(i / 10)) * 1000}\n`;
    const write = (body, query, headers = {}) => fetch(`${server.url}/${query}`, { method: 'POST', body, headers });
    check((await write(gzipSync(lines), 'api/v2/write?org=o&bucket=prod&precision=ms', { 'Content-Encoding': 'gzip' })).status === 204, '1,000 lines are taken');
    check((await write(lines, 'write?db=prod&precision=ms')).status === 204, 'and again');
    const found = stored('influx');
    check(found.length === 30 && found.every(([, , n]) => n === '100'), '30 series of 100 samples, once each');
    // By hand: 0 + 10 + … + 990.
    check(found.find(([metric]) => metric === 'latency_p99{arm="a0",db="prod"}')[1] === '49500', 'with their values');
    const partial = await write('good,model=influx v=1\nbad,model=influx v=x\n', 'write');
    const { line } = await partial.json();
    check(partial.status === 400 && line === 2, 'a bad line is named');
    check(stored('influx').some(([metric, value]) => metric === 'good_v' && value === '1'), 'and the good one kept');

    const socket = createSocket('udp4');
    const send = (text) => new Promise((resolve, reject) => socket.send(text, port, '127.0.0.1', (fault) => (fault ? reject(fault) : resolve())));
    for (let i = 0; i < 500; ++i) await send(`hits:2|c|#model:statsd\nlatency:${i}|ms|#model:statsd`);
    await eventually('all of StatsD', () => {
      const all = Object.fromEntries(stored('statsd').map(([metric, value]) => [metric, Number(value)]));
      // By hand: 500 times 2; 0 + 1 + … + 499.
      return all.hits === 1000 && all.latency_count === 500 && all.latency_sum === 124750 && all['latency{quantile="0.5"}'] >= 0;
    }, 15_000);
    check(psql(`${folder}/muster`, `SELECT count(*) FROM series WHERE model = 'statsd' AND metric IN ('hits', 'latency_count', 'latency_sum') AND kind = 3`)[0][0] === '3', 'counters are increases');
    await send('last:7|c|#model:statsd');
    // It is read before the stop: a datagram on loopback is there when it was sent.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = await (await fetch(`${server.url}/metrics`)).text();
    check(/^muster_statsd_datagrams_total 501$/m.test(before), 'no datagram was lost');
    socket.close();
    await server.stop();
  },
});
