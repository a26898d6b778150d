// History that a fleet has elsewhere: taken over exactly once though the import is killed in between, learned from as if
// it had come live, and never paged for.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { check, eventually, json, main, muster, post, readJson, run, serve, temporaryFolder } from './support.mjs';

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql],
    { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trim();
}
// Rows as they are, as the views take a second for each hundred thousand.
const storedIn = (folder) => Number(psql(folder, 'SELECT (SELECT coalesce(sum(cardinality(vals)), 0) FROM sample_log) + (SELECT coalesce(sum(samples), 0) FROM sample_block)'));
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
// Not while this program stands still: its connections would be closed meanwhile, and it would not know.
const command = (args) => new Promise((resolve, reject) => {
  const child = spawn(muster, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  child.on('exit', (code) => (code === 0 ? resolve(out) : reject(new Error(`muster ${args.join(' ')} gave ${code}\n${out}\n${err}`))));
});
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Starts an import, kills it once `enough` says so, and lets the same command go on.
async function importKilled(args, enough) {
  const child = spawn(muster, ['import', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let ended = false;
  child.on('exit', () => { ended = true; });
  await eventually('the import has begun', async () => ended || await enough());
  if (!ended) child.kill('SIGKILL');
  await eventually('it is gone', () => ended || child.signalCode !== null);
  check(child.signalCode === 'SIGKILL', 'the import was killed in between');
  const done = await command(['import', ...args]);
  console.log(done.trim());
  check(done.includes('goes on where it stopped'), 'and the same command goes on where it stopped');
}

const identity = (i) => JSON.stringify([i.id, i.opened_at, i.cause ?? i.suspects[0].dependency]);

async function incidentsOf(url) {
  const all = [];
  for (let after = '';;) {
    const page = await json(`${url}/api/v1/incidents?limit=200${after ? `&after=${after}` : ''}`);
    all.push(...page.incidents);
    if (!page.next) return all;
    after = page.next;
  }
}

await main({
  async 'a fleet that is new here learns from its history, and pages from the first day'() {
    const folder = temporaryFolder();
    run(['simulate', '--seed', '7', '--models', '40', '--weeks', '4', '--faults-per-week', '12', '--out', folder]);
    // As if it ended now, in whole ticks of ten minutes.
    // Without reports that come late: whether such a one finds its tick closed is a matter of who else was heard
    // meanwhile, and what is learned from a store counts them all.
    let newest = 0;
    const lines = readFileSync(`${folder}/samples.ndjson`, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((l) => {
      newest = Math.max(newest, l.ts);
      return l.ts >= newest;
    });
    const last = lines.reduce((m, l) => Math.max(m, l.ts), 0);
    const shift = Math.floor((Date.now() - last) / 600_000) * 600_000;
    for (const line of lines) line.ts += shift;
    const cut = last + shift - 8 * 86_400_000;
    const text = (list) => list.map((l) => JSON.stringify(l)).join('\n') + '\n';
    writeFileSync(`${folder}/all.ndjson`, text(lines));
    // A history need not be sorted: an export goes series by series.
    const history = lines.filter((l) => l.ts < cut)
      .map((l) => [createHash('md5').update(`${l.model}|${l.metric}`).digest('hex'), l]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, l]) => l);
    const live = lines.filter((l) => l.ts >= cut);
    writeFileSync(`${folder}/history.ndjson`, text(history));
    run(['replay', '--samples', `${folder}/all.ndjson`, '--topology', `${folder}/topology.json`,
      '--incidents', `${folder}/incidents.json`, '--pages', `${folder}/pages.json`]);
    const replayed = readJson(`${folder}/incidents.json`);

    const config = `${folder}/muster.yaml`;
    writeFileSync(config, 'route: {receiver: log}\nreceivers: [{name: log, log_configs: [{}]}]\n');
    const data = `${folder}/data`;
    mkdirSync(data);
    const server = await serve(data, ['--config', config]);
    const put = await fetch(`${server.url}/api/v1/topology`, { method: 'PUT', body: readFileSync(`${folder}/topology.json`) });
    check(put.ok, 'the topology is taken');
    // It is not quite new: some live samples came before anybody thought of the history.
    const first = live.filter((l) => l.ts < cut + 3 * 3_600_000);
    const rest = live.filter((l) => l.ts >= cut + 3 * 3_600_000);
    check((await post(server.url, text(first))).body.accepted === first.length, `${first.length} live samples before the import`);

    const stored = () => storedIn(data);
    const args = ['--ndjson', `${folder}/history.ndjson`, '--to', server.url, '--pages-from', String(cut)];
    await importKilled(args, () => stored() > first.length + 1000);
    check(stored() === first.length + history.length, `${history.length} samples of history are stored, each once`);
    // The same again changes nothing.
    check((await command(['import', ...args])).includes('0 samples imported'), 'the same import again imports nothing');

    const fleet = await json(`${server.url}/api/v1/fleet?parts=core`);
    check(fleet.learning === false, 'the fleet is learned, and can page');
    const before = await incidentsOf(server.url);
    check(before.length > 0 && before.every((i) => i.opened_at >= cut || !i.paged), `${before.length} incidents of history, none paged`);
    check(psql(data, 'SELECT count(*) FROM outbox') === '0', 'nobody was told anything');

    for (let at = 0; at < rest.length; at += 20_000) {
      const chunk = rest.slice(at, at + 20_000);
      const { status, body } = await post(server.url, text(chunk));
      if (status !== 200 || body.rejected.length) throw new Error(`${status} ${JSON.stringify(body).slice(0, 400)}`);
    }
    let closed = 0, still = 0;
    await eventually('the aggregator has read all that was sent', async () => {
      const { at } = await json(`${server.url}/api/v1/fleet?parts=core`);
      still = at === closed && at > cut ? still + 1 : 0;
      closed = at;
      return still > 20;
    }, 240_000);
    const found = await incidentsOf(server.url);
    const until = (list) => list.filter((i) => i.opened_at <= closed).map(identity).sort();
    const [a, b] = [until(replayed), until(found)];
    check(JSON.stringify(a) === JSON.stringify(b), `${a.length} incidents, the same as if the history had come live` +
      (JSON.stringify(a) === JSON.stringify(b) ? '' : `\n${a.filter((x) => !b.includes(x)).join('\n')}\n---\n${b.filter((x) => !a.includes(x)).join('\n')}`));
    const paged = found.filter((i) => i.opened_at >= cut && i.opened_at <= closed && i.paged).map((i) => i.id).sort();
    const pages = readJson(`${folder}/pages.json`).filter((p) => p.ts >= cut && p.ts <= closed).map((p) => p.incident_id).sort();
    check(pages.length > 0 && JSON.stringify(pages) === JSON.stringify(paged), `${pages.length} pages after it, in the first days`);
    await server.stop();
  },

  async 'a real Prometheus, and a real VictoriaMetrics'() {
    const folder = temporaryFolder();
    const end = Math.floor(Date.now() / 3_600_000) * 3600 - 3600, hours = 36, step = 15, models = 30;
    const parts = [];
    let count = 0;
    for (const metric of ['drift', 'null_rate']) {
      parts.push(`# TYPE ${metric} gauge`);
      for (let m = 0; m < models; ++m)
        for (let t = end - hours * 3600; t < end; t += step, ++count)
          // Times that are not whole: a scrape's are not either.
          parts.push(`${metric}{model="m${m}",job="j"} ${(Math.sin(t / 9000 + m) + m).toFixed(6)} ${t + (m % 3) / 4}`);
    }
    parts.push('# EOF');
    writeFileSync(`${folder}/history.om`, parts.join('\n') + '\n');
    const made = spawnSync('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', `${folder}/history.om`, `${folder}/prometheus`], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(`promtool: ${made.stderr}`);
    writeFileSync(`${folder}/prometheus.yml`, 'global: {}\n');
    const port = await freePort();
    const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'], { stdio: 'ignore' });
    process.on('exit', () => prometheus.kill('SIGKILL'));
    await eventually('Prometheus is ready', async () => (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok);

    const data = `${folder}/data`;
    mkdirSync(data);
    let server = await serve(data);
    const stored = () => storedIn(data);
    await importKilled(['--prometheus', `http://127.0.0.1:${port}`, '--since', '3d', '--to', server.url], () => stored() > 0);
    check(stored() === count, `Prometheus had ${count} samples, ${stored()} are stored`);
    check(Number(psql(data, 'SELECT count(DISTINCT (model, metric, ts)) FROM v_sample_recent')) === count, 'each once');
    const sum = Number(psql(data, "SELECT sum(value) FROM v_sample_recent WHERE model = 'm3' AND metric LIKE 'drift%'"));
    const theirs = parts.filter((l) => l.startsWith('drift{model="m3"')).reduce((s, l) => s + Number(l.split(' ')[1]), 0);
    check(Math.abs(sum - theirs) < 1e-6, 'with their values');
    await server.stop();
    prometheus.kill('SIGTERM');

    // Without a muster that answers, into its data folder.
    const vmPort = await freePort();
    const vm = spawn('victoria-metrics', [`-storageDataPath=${folder}/vm`, `-httpListenAddr=127.0.0.1:${vmPort}`, '-retentionPeriod=1', '-loggerLevel=ERROR'],
      { stdio: 'ignore' });
    process.on('exit', () => vm.kill('SIGKILL'));
    await eventually('VictoriaMetrics is ready', async () => (await fetch(`http://127.0.0.1:${vmPort}/health`)).ok);
    const exported = [];
    let given = 0;
    for (let m = 0; m < models; ++m) {
      const timestamps = [], values = [];
      for (let t = end - 4 * 3600; t < end; t += step, ++given) { timestamps.push(t * 1000); values.push(m + t % 7); }
      exported.push(JSON.stringify({ metric: { __name__: 'age', model: `v${m}` }, values, timestamps }));
    }
    const sent = await fetch(`http://127.0.0.1:${vmPort}/api/v1/import`, { method: 'POST', body: exported.join('\n') });
    check(sent.ok, 'VictoriaMetrics has a history');
    await sleep(2500);  // it shows what it was sent a second or two later
    const own = `${folder}/own`;
    mkdirSync(own);
    const into = ['import', '--victoriametrics', `http://127.0.0.1:${vmPort}`, '--since', '2d', '--match', '{__name__="age"}', '--data-dir', own];
    const alone = await command(into);
    console.log(alone.trim());
    check(alone.includes(`${given} samples imported`), `${given} samples of VictoriaMetrics into a data folder`);
    writeFileSync(`${folder}/export.jsonl`, exported.join('\n') + '\n');
    check((await command(['import', '--victoriametrics', `${folder}/export.jsonl`, '--data-dir', own])).includes(`0 samples imported, ${given} were there already`),
      'and its export as a file is known already');
    vm.kill('SIGTERM');
  },
});
