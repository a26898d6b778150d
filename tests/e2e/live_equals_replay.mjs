// One stream of samples gives the same incidents whether a file is replayed or a live server hears it over HTTP.
import { createReadStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { check, eventually, json, main, post, readJson, run, serve, temporaryFolder } from './support.mjs';

const identity = (i) => JSON.stringify([i.id, i.opened_at, i.cause ?? i.suspects[0].dependency]);

async function* linesOf(file, map) {
  const input = createReadStream(file);
  const text = createInterface({ input: file.endsWith('.gz') ? input.pipe(createGunzip()) : input, crlfDelay: Infinity });
  let chunk = [];
  for await (const line of text) {
    const mapped = map(line);
    if (mapped) chunk.push(mapped);
    if (chunk.length === 20_000) { yield chunk.join('\n') + '\n'; chunk = []; }
  }
  if (chunk.length) yield chunk.join('\n') + '\n';
}

async function compare({ samples, topology, map = (line) => line, budget, interrupt = false }) {
  const folder = temporaryFolder();
  run(['replay', '--samples', samples, '--topology', topology, '--incidents', `${folder}/incidents.json`, '--pages', `${folder}/pages.json`,
    ...(budget ? ['--budget', String(budget)] : [])]);
  const replayed = readJson(`${folder}/incidents.json`);

  const config = `${folder}/muster.yaml`;
  writeFileSync(config, `budget: {pages_per_week: ${budget ?? 1}}\nroute: {receiver: log}\nreceivers: [{name: log, log_configs: [{}]}]\n`);
  mkdirSync(`${folder}/live`);
  let server = await serve(`${folder}/live`, ['--config', config]);
  const put = await fetch(`${server.url}/api/v1/topology`, { method: 'PUT', body: readFileSync(topology) });
  check(put.ok, `the topology is taken (${put.status})`);
  let sent = 0, chunks = 0;
  for await (const chunk of linesOf(samples, map)) {
    const { status, body } = await post(server.url, chunk);
    if (status !== 200 || body.rejected.length) throw new Error(`${status} ${JSON.stringify(body).slice(0, 400)}`);
    sent += body.accepted;
    // A stop saves what the aggregator knows; a kill a little later makes it read on from there.
    ++chunks;
    if (interrupt && (chunks === 25 || chunks === 45)) {
      if (chunks === 25) await server.stop(); else await server.kill();
      server = await serve(`${folder}/live`, ['--config', config]);
    }
  }
  console.log(`${sent} samples sent in ${chunks} requests`);
  if (interrupt) check(chunks > 50, 'it was stopped and killed in between');

  // A live server does not know that the stream has ended: its last ticks stay open. What opened before them is compared.
  let closed = 0, still = 0;
  await eventually('the aggregator has read all that was sent', async () => {
    const { at, samples: seen } = await json(`${server.url}/api/v1/fleet?parts=core`);
    still = at === closed && seen === sent ? still + 1 : 0;
    closed = at;
    return still > 5;
  }, 240_000);
  const live = [];
  for (let after = '';;) {
    const page = await json(`${server.url}/api/v1/incidents?limit=200${after ? `&after=${after}` : ''}`);
    live.push(...page.incidents);
    if (!page.next) break;
    after = page.next;
  }
  const before = (list) => list.filter((i) => i.opened_at <= closed).map(identity).sort();
  const [a, b] = [before(replayed), before(live)];
  console.log(`replay ${a.length} incidents, live ${b.length}`);
  check(a.length > 0, 'there are incidents to compare');
  check(JSON.stringify(a) === JSON.stringify(b), 'replay and live give the same incidents, with the same causes at the same times' +
    (JSON.stringify(a) === JSON.stringify(b) ? '' : `\n${a.filter((x) => !b.includes(x)).join('\n')}\n---\n${b.filter((x) => !a.includes(x)).join('\n')}`));
  await server.stop();
}

await main({
  async 'an invented fleet'() {
    const folder = temporaryFolder();
    run(['simulate', '--seed', '7', '--models', '60', '--weeks', '4', '--out', folder]);
    const samples = [`${folder}/samples.ndjson.gz`, `${folder}/samples.ndjson`].find(existsSync);
    await compare({ samples, topology: `${folder}/topology.json` });
    await compare({ samples, topology: `${folder}/topology.json`, interrupt: true });
  },
  async 'real models, when their file is there'() {
    const shared = process.env.MUSTER_SHARED_DATA;
    const file = `${shared}/fleet-airquality/points.csv.gz`;
    if (!shared || !existsSync(file)) return console.log('skipped: no fleet-airquality beside the project');
    const map = (line) => {
      const [ts, series, value] = line.split(',');
      if (ts === 'ts') return null;
      const bar = series.lastIndexOf('|');
      return `{"ts":${ts}000,"model":"${series.slice(0, bar)}","metric":"${series.slice(bar + 1)}","value":${value}}`;
    };
    await compare({ samples: file, topology: `${shared}/fleet-airquality/topology.json`, map, budget: 0.25 });
  },
});
