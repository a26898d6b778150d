// muster scrapes prom-client (text and OpenMetrics), a node process and a real Prometheus: whatever their pages
// showed is in the store, sample for sample; a target that dies is down and its series end; files of targets and
// reloads are followed. Prometheus with the same scrape_configs gives the same label sets.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { createRequire } from 'node:module';
import { check, eventually, json, main, serve, temporaryFolder } from './support.mjs';

const prom = createRequire(new URL('./clients/package.json', import.meta.url))('prom-client');

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-d',
    `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trimEnd().split('\n').filter(Boolean).map((line) => line.split('\t'));
}

const freePort = () => new Promise((resolve) => {
  const server = createTcp().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

// A server whose pages are recorded as they leave, each with its number on it. `page` gives [body, contentType].
async function recorded(page) {
  const pages = [];
  const server = createServer(async (request, response) => {
    try {
      let [body, type] = await page(request);
      const mark = `page_number ${pages.length}\n`;
      body = body.endsWith('# EOF\n') ? body.replace(/# EOF\n$/, `${mark}# EOF\n`) : body + mark;
      pages.push(body);
      response.writeHead(200, { 'Content-Type': type });
      response.end(body);
    } catch (fault) {
      response.writeHead(500);
      response.end(String(fault));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    pages,
    address: `127.0.0.1:${server.address().port}`,
    close() { server.closeAllConnections(); return new Promise((resolve) => server.close(resolve)); },
  };
}

// The labels that name the model or describe it; they are no part of a metric.
const ofModel = new Set(['job', 'instance', 'version', 'region', 'family', 'team', 'environment']);
const escaped = (text) => text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n');
function metricOf(labels) {
  const left = Object.keys(labels).filter((name) => name !== '__name__' && !ofModel.has(name)).sort();
  return labels.__name__ + (left.length ? `{${left.map((name) => `${name}="${escaped(labels[name])}"`).join(',')}}` : '');
}

// A reader of pages of its own, for what these pages have: metric to value.
const number = (text) => (/^[+-]?inf$/i.test(text) ? (text[0] === '-' ? -Infinity : Infinity) : Number(text));
function samplesOf(page) {
  const samples = new Map();
  for (const line of page.split('\n')) {
    if (!line || line.startsWith('#')) continue;
    const [, name, , inside, value] = line.match(/^([a-zA-Z_:][\w:]*)(\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\})?\s+(\S+)/);
    const labels = { __name__: name };
    for (const [, key, text] of (inside ?? '').matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g))
      labels[key] = text.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    samples.set(metricOf(labels), number(value));
  }
  return samples;
}

// What the store has of a model: per instant, metric to value or 'stale'.
function instantsOf(folder, model) {
  const rows = psql(folder, `SELECT extract(epoch FROM ts) * 1000, metric, coalesce(marker, value::text)
                             FROM v_sample_recent WHERE model = '${model}' ORDER BY ts`);
  const instants = new Map();
  for (const [ts, metric, value] of rows) {
    if (!instants.has(ts)) instants.set(ts, new Map());
    const at = instants.get(ts);
    if (at.has(metric)) throw new Error(`${model} ${metric} is twice at ${ts}`);
    at.set(metric, value === 'stale' ? 'stale' : Number(value));
  }
  return [...instants.values()];
}

const ownMetrics = ['up', 'scrape_duration_seconds', 'scrape_samples_scraped', 'scrape_samples_post_metric_relabeling', 'scrape_series_added'];

// What a good scrape stored is the page of its number, no sample more or less. A page that is not stored has to be of
// a scrape that failed, as it took too long on a busy machine, or the last.
function compare(folder, model, pages) {
  const all = instantsOf(folder, model);
  const instants = all.filter((at) => at.get('up') === 1);
  const failed = all.length - instants.length;
  if (instants.length < 5 || pages.length > instants.length + failed + 1)
    throw new Error(`${model}: ${instants.length} scrapes are stored and ${failed} failed, of ${pages.length} pages`);
  let samples = 0, before = new Map();
  all.forEach((at) => {
    if (at.get('up') !== 1) {
      before = new Map();
      return;
    }
    const k = at.get('page_number');
    const page = samplesOf(pages[k]);
    for (const [metric, value] of page) {
      if (!Object.is(at.get(metric), value)) throw new Error(`${model}, page ${k}: ${metric} is ${at.get(metric)} and was ${value}`);
      ++samples;
    }
    for (const [metric, value] of at) {
      if (page.has(metric) || ownMetrics.includes(metric)) continue;
      if (value !== 'stale' || !before.has(metric)) throw new Error(`${model}, page ${k}: ${metric} = ${value} was not there`);
    }
    for (const metric of before.keys())
      if (!page.has(metric) && at.get(metric) !== 'stale') throw new Error(`${model}, page ${k}: ${metric} is gone and not marked`);
    if (at.get('scrape_samples_scraped') !== page.size) throw new Error(`${model}, page ${k}: scrape_samples_scraped`);
    before = page;
  });
  check(true, `${model}: ${instants.length} pages, all of their ${samples} samples and no other`);
}

function registryOf(contentType) {
  const registry = new prom.Registry(contentType);
  const registers = [registry];
  const counter = new prom.Counter({ name: 'predictions_total', help: 'Predictions', labelNames: ['arm', 'path'], registers, enableExemplars: contentType !== prom.Registry.PROMETHEUS_CONTENT_TYPE });
  const gauge = new prom.Gauge({ name: 'null_rate', help: 'Share of nulls', labelNames: ['feature'], registers });
  const histogram = new prom.Histogram({ name: 'latency_seconds', help: 'Latency', labelNames: ['arm'], buckets: [0.01, 0.1, 1], registers, enableExemplars: contentType !== prom.Registry.PROMETHEUS_CONTENT_TYPE });
  const summary = new prom.Summary({ name: 'score', help: 'Scores', percentiles: [0.5, 0.99], registers });
  prom.collectDefaultMetrics({ register: registry });
  let n = 0;
  const move = () => {
    ++n;
    const labels = { arm: n % 2 ? 'a' : 'b', path: 'C:\\x "y"\nz é' };
    if (contentType === prom.Registry.PROMETHEUS_CONTENT_TYPE) {
      counter.inc(labels, n);
      histogram.observe({ arm: labels.arm }, n / 50);
    } else {
      counter.inc({ labels, value: n, exemplarLabels: { trace_id: `t${n}` } });
      histogram.observe({ labels: { arm: labels.arm }, value: n / 50, exemplarLabels: { trace_id: `h${n}` } });
    }
    gauge.reset();  // so that series come and go
    gauge.set({ feature: `f${n % 3}` }, n % 5 === 0 ? Infinity : n % 7 === 0 ? NaN : n / 10);
    summary.observe(n);
  };
  return async () => { move(); return [await registry.metrics(), registry.contentType]; };
}

async function startPrometheus(folder, config) {
  const port = await freePort();
  mkdirSync(`${folder}/prometheus`);
  writeFileSync(`${folder}/prometheus.yml`, config(port));
  const child = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/prometheus`,
    `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn'], { stdio: ['ignore', 'ignore', 'pipe'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let log = '';
  child.stderr.on('data', (d) => { log += d; });
  const url = `http://127.0.0.1:${port}`;
  await eventually('Prometheus', async () => (await fetch(`${url}/-/ready`)).ok || null);
  return { url, log: () => log, stop: () => new Promise((resolve) => { child.on('exit', resolve); child.kill('SIGTERM'); }) };
}

await main({
  async 'every sample of every page is in the store'() {
    const folder = temporaryFolder();
    const prometheus = await startPrometheus(folder, (port) => `
global: {scrape_interval: 1s}
scrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:${port}']}]}]`);
    const targets = {
      text: await recorded(registryOf(prom.Registry.PROMETHEUS_CONTENT_TYPE)),
      open: await recorded(registryOf(prom.Registry.OPENMETRICS_CONTENT_TYPE)),
      prometheus: await recorded(async (request) => {
        const answer = await fetch(`${prometheus.url}/metrics`, { headers: { Accept: request.headers.accept } });
        return [await answer.text(), answer.headers.get('content-type')];
      }),
    };
    const listedOne = await recorded(registryOf(prom.Registry.PROMETHEUS_CONTENT_TYPE));
    writeFileSync(`${folder}/muster.yml`, `
global: {scrape_interval: 1s}
scrape_configs:
${Object.entries(targets).map(([name, { address }]) => `  - {job_name: ${name}, static_configs: [{targets: ['${address}']}]}`).join('\n')}
  - {job_name: files, file_sd_configs: [{files: ['${folder}/targets-*.json'], refresh_interval: 1s}]}
`);
    const server = await serve(`${folder}/muster`, ['--config', `${folder}/muster.yml`]);
    for (const [name, target] of Object.entries(targets))
      await eventually(`7 pages of ${name}`, () => (target.pages.length >= 7 ? true : null));
    check(targets.open.pages.every((page) => page.endsWith('# EOF\n')), 'OpenMetrics was asked for and given');
    check(targets.open.pages.some((page) => page.includes('# {trace_id=')), 'with exemplars');

    // A target that dies.
    const model = (name) => `${name}/${targets[name].address}`;
    await targets.text.close();
    const down = await eventually('the dead target is down', () => {
      const instants = instantsOf(`${folder}/muster`, model('text'));
      const good = instants.findLastIndex((one) => one.get('up') === 1);
      return good + 1 < instants.length ? { at: instants[good + 1], last: instants[good] } : null;
    });
    const lived = [...down.last].filter(([metric, value]) => value !== 'stale' && !ownMetrics.includes(metric));
    check(lived.length > 20 && lived.every(([metric]) => down.at.get(metric) === 'stale'), `all of its ${lived.length} series end`);
    const listed = await json(`${server.url}/api/v1/targets`);
    const dead = listed.data.activeTargets.find((t) => t.scrapePool === 'text');
    check(dead.health === 'down' && dead.lastError.includes('connection refused'), `and it says why: ${dead.lastError}`);

    // A file of targets that comes, changes and goes.
    const file = (labels) => {
      writeFileSync(`${folder}/part`, JSON.stringify([{ targets: [listedOne.address], labels }]));
      renameSync(`${folder}/part`, `${folder}/targets-1.json`);
    };
    file({ instance: 'one' });
    const ups = (id) => psql(`${folder}/muster`, `SELECT coalesce(marker, value::text) FROM v_sample_recent WHERE model = '${id}' AND metric = 'up' ORDER BY ts`).flat();
    await eventually('a target of the file', () => ups('files/one').includes('1') || null);
    file({ instance: 'two' });
    await eventually('another one', () => (ups('files/two').includes('1') && ups('files/one').at(-1) === 'stale') || null);

    // A reload with another job: what was there goes on without a marker.
    writeFileSync(`${folder}/muster.yml`, `
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: open, static_configs: [{targets: ['${targets.open.address}']}]}
  - {job_name: prometheus, static_configs: [{targets: ['${targets.prometheus.address}']}]}
  - {job_name: new, scrape_interval: 500ms, static_configs: [{targets: ['${prometheus.url.slice(7)}']}]}
`);
    const reloaded = await fetch(`${server.url}/-/reload`, { method: 'POST' });
    check(reloaded.status === 204, 'reloaded');
    await eventually('the new job', () => ups(`new/${prometheus.url.slice(7)}`).includes('1') || null);
    await eventually('the end of what is gone', () => (ups('files/two').at(-1) === 'stale' && ups(model('text')).at(-1) === 'stale') || null);
    check(!ups(model('prometheus')).includes('stale'), 'the others go on');

    const counters = await (await fetch(`${server.url}/metrics`)).text();
    for (const what of ['refused', 'dropped', 'duplicate'])
      check(!new RegExp(`^muster_scrape_samples_${what}_total\\{[^}]*\\} [1-9]`, 'm').test(counters), `no sample was ${what}`);
    check(/^muster_scrape_exemplars_skipped_total\{job="open"\} [1-9]/m.test(counters), 'exemplars are counted');
    compare(`${folder}/muster`, model('text'), targets.text.pages);
    compare(`${folder}/muster`, model('open'), targets.open.pages);
    compare(`${folder}/muster`, model('prometheus'), targets.prometheus.pages);
    await prometheus.stop();
    await server.stop();
  },

  async 'Prometheus with the same scrape_configs gives the same label sets'() {
    const folder = temporaryFolder();
    const text = (body) => recorded(async () => [body, 'text/plain; version=0.0.4']);
    const odd = await text(`# HELP a Words with \\\\ and \\n
# TYPE a counter
a{x="1",} 1
a { x = "2" , job = "page" } 2
a{job="page",exported_job="twice",instance="i"} 3
a{instance="",x=""} 4
esc{p="C:\\\\x \\"y\\" \\n }{ , #",q="é ü 日本"} 5
untyped_metric 6
go_threads 7
http_requests_total{code="200",method="GET",host="Web-1.Example.ORG"} 8
http_requests_total{code="500",method="post",host="web-2.example.org"} 9
drop_me{kind="x"} 10
same{left="v",right="v"} 11
same{left="v",right="w"} 12
tmp{tmp_a="1",tmp_b="2",keep="3"} 13
# TYPE h histogram
h_bucket{le="0.5"} 1
h_bucket{le="+Inf"} 2
h_sum 3
h_count 2
# TYPE s summary
s{quantile="0.9"} 1
s_sum 2
s_count 3
`);
    const open = await recorded(async () => [`# TYPE c counter
# UNIT c_seconds seconds
# TYPE c_seconds counter
c_seconds_total{a="b"} 1.5 # {trace_id="x"} 1
# TYPE i info
i_info{build="1"} 1
# TYPE st stateset
st{st="on"} 1
st{st="off"} 0
# TYPE g gauge
g{z="1",a="2"} NaN
# EOF
`, 'application/openmetrics-text; version=1.0.0; charset=utf-8']);
    writeFileSync(`${folder}/list.yml`, `- targets: ['${odd.address}']\n  labels: {zone: eu, __meta_tier: gold}\n`);
    // Word for word the same for both.
    const configs = `
scrape_configs:
  - job_name: plain
    static_configs: [{targets: ['${odd.address}'], labels: {x: target, zone: eu}}]
  - job_name: honor
    honor_labels: true
    static_configs: [{targets: ['${odd.address}'], labels: {x: target}}]
  - job_name: open
    static_configs: [{targets: ['${open.address}']}]
  - job_name: changed
    file_sd_configs: [{files: ['${folder}/list.yml']}]
    params: {a: ['1', '2'], b: ['ü &']}
    metrics_path: /some/path
    relabel_configs:
      - {source_labels: [__address__], regex: '([^:]+):(\\d+)', target_label: host, replacement: 'h-\${1}'}
      - {source_labels: [__meta_filepath], regex: '.*/(?P<file>[^/]+)\\.yml', target_label: file, replacement: '\${file}'}
      - {source_labels: [zone, __meta_tier], separator: '-', target_label: both}
      - {action: labelmap, regex: '__meta_(t.*)', replacement: 'my_$1'}
      - {source_labels: [__address__], action: hashmod, modulus: 97, target_label: shard}
      - {source_labels: [host], action: uppercase, target_label: loud}
      - {source_labels: [__param_a, __scheme__, __metrics_path__, __scrape_interval__], target_label: asked}
      - {target_label: constant, replacement: 'yes'}
      - {source_labels: [absent], target_label: zone, regex: '(.+)', replacement: never}
      - {source_labels: [zone], target_label: instance, replacement: 'i-$1'}
  - job_name: nobody
    static_configs: [{targets: ['${odd.address}', '${open.address}']}]
    relabel_configs:
      - {source_labels: [__address__], regex: '${open.address}', action: keep}
  - job_name: metrics
    static_configs: [{targets: ['${odd.address}']}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: 'go_.*|drop_.*', action: drop}
      - {source_labels: [left], action: keepequal, target_label: right}
      - {action: labeldrop, regex: 'tmp_.*'}
      - {source_labels: [host], action: lowercase, target_label: host}
      - {source_labels: [__name__], regex: 'http_(.*)', target_label: __name__, replacement: 'web_$1'}
      - {source_labels: [code, method], regex: '5..;(.*)', target_label: fault_of, replacement: '$1-$9-$$1'}
      - {source_labels: [x], regex: '[0-9]', target_label: 'is_$0', replacement: digit}
      - {source_labels: [q], action: hashmod, modulus: 1000, target_label: hash}
  - job_name: equal
    static_configs: [{targets: ['${odd.address}']}]
    metric_relabel_configs:
      - {source_labels: [left], action: dropequal, target_label: right}
      - {action: labelkeep, regex: '__name__|job|instance|le|quantile|keep|code'}
`;
    const prometheus = await startPrometheus(folder, () => `global: {scrape_interval: 1s}\n${configs}`);
    writeFileSync(`${folder}/muster.yml`, `global: {scrape_interval: 1s}\n${configs}`);
    const server = await serve(`${folder}/muster`, ['--config', `${folder}/muster.yml`]);

    const jobs = ['plain', 'honor', 'open', 'changed', 'nobody', 'metrics', 'equal'];
    const theirTargets = await eventually('all targets of Prometheus are up', async () => {
      const found = (await json(`${prometheus.url}/api/v1/targets?state=active`)).data.activeTargets;
      return found.length === jobs.length && found.every((t) => t.health === 'up') ? found : null;
    });
    const ourTargets = await eventually('all of ours are', async () => {
      const found = (await json(`${server.url}/api/v1/targets?state=active`)).data.activeTargets;
      return found.length === jobs.length && found.every((t) => t.health === 'up') ? found : null;
    });
    const shown = (object) => JSON.stringify(Object.keys(object).sort().map((name) => [name, object[name]]));
    for (const job of jobs) {
      const ours = ourTargets.find((t) => t.scrapePool === job);
      const theirs = theirTargets.find((t) => t.scrapePool === job);
      for (const part of ['labels', 'discoveredLabels'])
        check(shown(ours[part]) === shown(theirs[part]), `${job}: ${part} are ${shown(theirs[part])}${shown(ours[part]) === shown(theirs[part]) ? '' : `, ours ${shown(ours[part])}`}`);
      for (const part of ['scrapeInterval', 'scrapeTimeout'])
        check(ours[part] === theirs[part], `${job}: ${part} is ${theirs[part]}`);
      // The order and the escapes of a query are free.
      const asked = (t) => { const url = new URL(t.scrapeUrl); return url.origin + url.pathname + [...url.searchParams].sort().join(); };
      check(asked(ours) === asked(theirs), `${job}: asked at ${asked(theirs)}`);
    }

    // The label sets that a row stands for: job and instance from the model, the rest from the metric.
    const labelsOf = (model, metric) => {
      const [job, instance] = model.split('/');
      const labels = instance === undefined ? { job } : { job, instance };
      const brace = metric.indexOf('{');
      labels.__name__ = brace < 0 ? metric : metric.slice(0, brace);
      for (const [, name, value] of metric.slice(labels.__name__.length).matchAll(/([a-zA-Z_]\w*)="((?:\\.|[^"\\])*)"/g))
        labels[name] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
      return labels;
    };
    const their = (await json(`${prometheus.url}/api/v1/series?match[]=${encodeURIComponent('{__name__=~".+"}')}`)).data.map(shown);
    await eventually('the same series', () => {
      const our = psql(`${folder}/muster`, 'SELECT model, metric FROM series').map(([model, metric]) => shown(labelsOf(model, metric)));
      const only = (a, b) => a.filter((one) => !b.includes(one));
      const [less, more] = [only(their, our), only(our, their)];
      if (less.length || more.length) throw new Error(`only Prometheus: ${less.join(' ')}; only muster: ${more.join(' ')}`);
      return true;
    }, 15_000);
    check(their.length > 120, `all ${their.length} label sets are those of Prometheus`);
    await prometheus.stop();
    await server.stop();
  },
});
