// Senders as they are: Debian's vmagent, whose queue replays after an outage, and a sender of remote write 2.0. Every
// sample that they count as sent is in the store, once.
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Sender } from './remote_write_2.mjs';
import { check, eventually, json, main, serve, start, temporaryFolder } from './support.mjs';

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql],
    { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trim();
}

const listening = (server) => new Promise((resolve) => {
  server.listen(0, '127.0.0.1', () => resolve(server.address().port));
});
const freePort = async () => {
  const server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
};
const sumOf = (text, name) => text.split('\n').filter((l) => l.startsWith(name) && ' {'.includes(l[name.length]))
  .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);
const metrics = async (url) => (await fetch(url)).text();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Started again on the port that its senders know.
const serveOn = (folder, port) => start(['serve', '--data-dir', folder, '--listen', `127.0.0.1:${port}`]);

await main({
  async 'vmagent: an outage in the middle loses nothing, and doubles nothing'() {
    const folder = temporaryFolder();
    const port = await freePort();
    let server = await serveOn(folder, port);

    let pages = 0;
    const target = createServer((_, answer) => {
      ++pages;
      let text = '# TYPE requests_total counter\n# TYPE latency_seconds gauge\n';
      for (let i = 0; i < 200; ++i) text += `requests_total{model="m${i % 10}",route="${i}"} ${pages * i}\nlatency_seconds{model="m${i % 10}",route="${i}"} ${Math.sin(pages + i)}\n`;
      answer.end(text);
    });
    const targetPort = await listening(target);
    const config = `${folder}/vmagent.yml`;
    const scrape = (targets) => writeFileSync(config, `
global: {scrape_interval: 500ms}
scrape_configs: [{job_name: models, static_configs: [{targets: [${targets}]}]}]
`);
    scrape(`'127.0.0.1:${targetPort}'`);
    const own = await freePort();
    const agent = spawn('vmagent', [`-promscrape.config=${config}`, `-remoteWrite.url=http://127.0.0.1:${port}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${folder}/vmagent`, `-httpListenAddr=127.0.0.1:${own}`, '-remoteWrite.flushInterval=200ms',
      '-memory.allowedBytes=64MB', '-loggerLevel=ERROR'], { stdio: ['ignore', 'ignore', 'pipe'] });
    process.on('exit', () => agent.kill('SIGKILL'));
    let log = '';
    agent.stderr.on('data', (d) => { log += d; });
    const ask = () => metrics(`http://127.0.0.1:${own}/metrics`);
    const stored = () => Number(psql(folder, 'SELECT count(*) FROM v_sample_recent'));

    await eventually('some scrapes are stored', () => stored() > 2000);
    await server.kill();
    const before = pages;
    await eventually('eight scrapes while muster is away', () => pages >= before + 8);
    server = await serveOn(folder, port);
    const back = pages;
    await eventually('and some more after it', () => pages >= back + 4);

    // Without targets it has nothing more to say than the stale markers of what it scraped.
    scrape('');
    agent.kill('SIGHUP');
    let rows = -1;
    await eventually('vmagent has sent all it had', async () => {
      const text = await ask();
      const now = sumOf(text, 'vmagent_remotewrite_rows_pushed_after_relabel_total');
      const pending = sumOf(text, 'vmagent_remotewrite_pending_data_bytes') + sumOf(text, 'vmagent_remotewrite_pending_inmemory_blocks');
      const same = now === rows && now > 0 && pending === 0 && sumOf(text, 'vm_promscrape_targets') === 0;
      rows = now;
      if (!same) await sleep(500);
      return same;
    });
    const text = await ask();
    check(sumOf(text, 'vmagent_remotewrite_packets_dropped_total') === 0, 'vmagent dropped nothing');
    check(sumOf(text, 'vmagent_remotewrite_retries_count_total') > 0, 'vmagent had to repeat itself, so the outage hit it');
    const found = await eventually('every row is stored', () => (stored() >= rows ? stored() : null), 20_000)
      .catch(() => stored());
    check(found === rows, `vmagent pushed ${rows} rows, ${found} samples are stored`);
    const distinct = Number(psql(folder, 'SELECT count(DISTINCT (model, metric, ts)) FROM v_sample_recent'));
    check(distinct === rows, 'each of them once');
    const stale = Number(psql(folder, "SELECT count(*) FROM v_sample_recent WHERE marker = 'stale'"));
    check(stale >= 400, `${stale} stale markers came through as such`);
    check(pages * 400 <= rows, `of ${pages} scrapes of 400 series`);
    agent.kill('SIGTERM');
    await new Promise((resolve) => agent.on('exit', resolve));
    target.close();
    await server.stop();
    if (log.trim()) console.log(`vmagent said: ${log.slice(0, 500)}`);
  },

  async 'remote write 2.0: what is said to be written is stored'() {
    const folder = temporaryFolder();
    const server = await serve(folder);
    const sender = new Sender(`${server.url}/api/v1/write`);
    const now = Date.now();
    const began = now - 60_000;
    const series = (round) => [
      ...Array.from({ length: 50 }, (_, i) => ({
        labels: { __name__: 'requests', model: `m${i % 5}`, route: `${i}` }, type: 1, help: 'Requests', unit: '',
        samples: [{ ts: now + round * 1000, value: round * i, start: began }],
      })),
      { labels: { __name__: 'latency_seconds', model: 'm0' }, type: 3, unit: 'seconds', help: 'How long', exemplars: [0.3],
        histograms: [{ count: 7 + round, sum: 18.4, schema: 0, zeroThreshold: 0.001, zeroCount: 2 + round, spans: [[0, 2], [1, 2]],
          deltas: [1, 1, -1, 0], ts: now + round * 1000, start: began }] },
    ];
    for (let round = 0; round < 5; ++round) {
      const { status, text, written } = await sender.send(series(round));
      check(status === 204 && text === '', `round ${round}: 204 without a body`);
      check(written.samples === 50 && written.histograms === 1 && written.exemplars === 0,
        '50 samples and a histogram written; the exemplar is not kept, and not said to be');
    }
    check(sender.version === 2, 'no need to fall back');
    // Twice the same: there already, so it is written.
    check((await sender.send(series(4))).written.samples === 50, 'a repeated request is written');
    // The start of a counter is a sample of its own where the store keeps it: it is older than all we count.
    const count = (where) => Number(psql(folder, `SELECT count(*) FROM v_sample_recent WHERE ts >= to_timestamp(${now} / 1000.0) AND ${where}`));
    check(count("metric LIKE 'requests%'") === 250, '250 samples are stored');
    check(count("metric = 'latency_seconds_count'") === 5, 'and the count of each histogram');
    check(count("metric LIKE 'latency_seconds_bucket{le=\"16\"}'") === 5, 'and its buckets');
    const kinds = psql(folder, "SELECT string_agg(DISTINCT kind::text, ',') FROM series WHERE metric LIKE 'requests%'");
    check(kinds === '1', 'its metadata made it a counter, which its name would not');
    const metadata = (await json(`${server.url}/api/v1/metadata`)).data;
    check(metadata.requests?.[0].type === 'counter' && metadata.latency_seconds?.[0].unit === 'seconds', 'metadata is served');

    const bad = [{ labels: { __name__: 'requests', model: 'm0', route: '0' }, samples: [{ ts: 5, value: 1 }, { ts: now + 9000, value: 1 }] }];
    const { status, text, written } = await sender.send(bad);
    check(status === 400 && written.samples === 1, 'a partial write is 400, and says that one sample is there');
    check(text.startsWith('1 sample not taken, 1 sample stored.') && text.includes('{__name__="requests",model="m0",route="0"}'), text.trim());
    await server.stop();
  },
});
