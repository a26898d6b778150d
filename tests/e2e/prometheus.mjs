// Debian's Prometheus scrapes itself and muster, and sends everything to muster by remote write: nothing fails, and
// its series and models are on the fleet.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { check, eventually, json, main, serve, temporaryFolder } from './support.mjs';

// A minute, as one that only just works for some seconds does not count.
const seconds = Number(process.env.PROMETHEUS_SECONDS ?? 60);

const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

// The samples of one exposition line without labels, or of all its label sets added up.
const sumOf = (text, name) => text.split('\n').filter((l) => l.startsWith(name) && ' {'.includes(l[name.length]))
  .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);

await main({
  async 'Prometheus sends, nothing fails, the fleet shows it'() {
    const folder = temporaryFolder();
    const server = await serve(`${folder}/muster`);
    const port = await freePort();
    mkdirSync(`${folder}/prometheus`);
    writeFileSync(`${folder}/prometheus.yml`, `
global: {scrape_interval: 1s, external_labels: {cluster: test}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ['127.0.0.1:${port}']}]
  - job_name: muster
    static_configs: [{targets: ['${server.url.replace('http://', '')}']}]
remote_write:
  - url: ${server.url}/api/v1/write
    send_exemplars: true
    metadata_config: {send: true, send_interval: 5s}
    queue_config: {max_samples_per_send: 2000, batch_send_deadline: 1s}
`);
    const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn', '--enable-feature=exemplar-storage'], { stdio: ['ignore', 'ignore', 'pipe'] });
    process.on('exit', () => prometheus.kill('SIGKILL'));
    let log = '';
    prometheus.stderr.on('data', (d) => { log += d; });

    const own = `http://127.0.0.1:${port}/metrics`;
    const metrics = async (url) => (await fetch(url)).text();
    const until = Date.now() + seconds * 1000;
    const total = await eventually(`${seconds} s of sending`, async () => {
      const text = await metrics(own);
      const failed = sumOf(text, 'prometheus_remote_storage_samples_failed_total');
      if (failed) throw new Error(`failed ${failed}`);
      const sent = sumOf(text, 'prometheus_remote_storage_samples_total');
      return Date.now() >= until && sent > 0 ? sent : null;
    }, (seconds + 60) * 1000);

    const text = await metrics(own);
    for (const what of ['failed', 'dropped', 'retried'])
      check(sumOf(text, `prometheus_remote_storage_samples_${what}_total`) === 0, `samples ${what}: 0 of ${total} sent`);
    check(sumOf(text, 'prometheus_remote_storage_metadata_failed_total') === 0, 'metadata failed: 0');

    const fleet = await eventually('both on the fleet', async () => {
      const found = await json(`${server.url}/api/v1/fleet`);
      const ids = found.models.map((m) => m.id);
      return ids.some((id) => id.startsWith('prometheus/')) && ids.some((id) => id.startsWith('muster/')) ? found : null;
    });
    console.log(`models: ${fleet.models.map((m) => m.id).join(', ')}; ${fleet.series} series, ${fleet.samples} samples`);
    check(fleet.models.length === 2, 'two targets are two models');
    const count = await json(`${own.replace('/metrics', '')}/api/v1/query?query=${encodeURIComponent('count({__name__=~".+"})')}`);
    const series = Number(count.data.result[0].value[1]);
    const ingested = await eventually('every series of Prometheus', async () => {
      const known = sumOf(await metrics(`${server.url}/metrics`), 'muster_ingest_series');
      return known >= series ? known : null;
    });
    check(fleet.series > 0, `Prometheus counts ${series} series, muster knows ${ingested}`);

    const accepted = sumOf(await metrics(`${server.url}/metrics`), 'muster_ingest_samples_accepted_total');
    check(accepted >= total * 0.99, `muster counts ${accepted} accepted of ${total} sent so far`);
    prometheus.kill('SIGTERM');
    await new Promise((resolve) => prometheus.on('exit', resolve));
    check(!/level=error/.test(log), `Prometheus logged no error ${log.slice(0, 500)}`);
    await server.stop();
  },
});
