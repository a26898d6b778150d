// muster answers as Prometheus does. Debian's Prometheus scrapes invented targets with counters, gauges and histograms
// that restart, vanish and come back, and sends everything to muster by remote write. Then both are asked the same
// queries over the same time, and the answers are compared to one part in 10^9. muster keeps job and instance as the
// model, so labels are compared under that name.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { check, eventually, json, main, serve, temporaryFolder } from './support.mjs';

const seconds = Number(process.env.QUERY_SECONDS ?? 28);  // of data: enough for two resets and a gap

const freePort = () => new Promise((resolve) => {
  const server = createSocket().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

// A target whose numbers are a function of its scrapes, so that nothing depends on the machine's speed, and of the
// length of its name, so that two are never equal: which of two equals topk takes is nobody's word.
function target(name, { resetEvery = 0, absentFrom = Infinity, absentTo = Infinity, buckets = true, version } = {}) {
  let scrapes = 0;
  const server = createServer((_, answer) => {
    const n = scrapes++;
    const k = resetEvery ? n % resetEvery : n;
    const lines = [];
    if (n < absentFrom || n >= absentTo) {
      for (const path of ['/a', '/b', '/c'])
        for (const code of ['200', '500'])
          lines.push(`requests_total{path="${path}",code="${code}"} ${k * (path.charCodeAt(1) - 94) * (code === '200' ? 7 : 0.25) * (name.length + 0.01) + name.length / 64 + path.charCodeAt(1) / 4096}`);
      lines.push(`temperature{room="x"} ${20 + 5 * Math.sin(n / 3) + name.length}`, `temperature{room="y"} ${(n * 37) % 11 - 4 + name.length / 16}`);
      lines.push(`weird{kind="nan"} NaN`, `weird{kind="inf"} +Inf`, `weird{kind="tiny"} 1.5e-9`, `weird{kind="big"} 1.25e22`);
      if (version) lines.push(`build_info{version="${version}"} 1`);
    }
    lines.push(`queue_depth ${(n * n) % 17}`);
    if (buckets) {
      let sum = 0;
      for (const [le, share] of [['0.1', 0.2], ['0.5', 0.5], ['1', 0.9], ['+Inf', 1]])
        lines.push(`latency_seconds_bucket{le="${le}"} ${Math.floor(k * 13 * share)}`);
      sum = k * 4.5;
      lines.push(`latency_seconds_sum ${sum}`, `latency_seconds_count ${k * 13}`);
    }
    answer.setHeader('Content-Type', 'text/plain; version=0.0.4');
    answer.end(`${lines.join('\n')}\n`);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({
    address: `127.0.0.1:${server.address().port}`, close: () => server.close(), scrapes: () => scrapes })));
}

const queries = [
  'up', 'requests_total', 'requests_total{code="500"}', 'requests_total{path!="/a"}', 'requests_total{path=~"/a|/b"}',
  'requests_total{path!~"/(a|b)"}', '{__name__=~"temp.*"}', '{__name__="queue_depth"}', 'nothing_here', 'weird',
  'requests_total offset 5s', 'requests_total offset -3s', 'temperature @ end()', 'temperature{room="x"} @ start()',
  'rate(requests_total[10s])', 'rate(requests_total[7s])', 'irate(requests_total[10s])', 'increase(requests_total[12s])',
  'delta(temperature[10s])', 'idelta(temperature[10s])', 'rate(requests_total[10s] offset 4s)', 'deriv(temperature[10s])',
  'predict_linear(temperature[10s], 60)', 'changes(queue_depth[15s])', 'resets(requests_total[20s])',
  'avg_over_time(temperature[10s])', 'min_over_time(temperature[10s])', 'max_over_time(temperature[10s])',
  'sum_over_time(temperature[10s])', 'count_over_time(temperature[10s])', 'last_over_time(temperature[10s])',
  'quantile_over_time(0.9, temperature[10s])', 'stddev_over_time(temperature[10s])', 'stdvar_over_time(queue_depth[10s])',
  'present_over_time(requests_total[5s])', 'absent_over_time(nothing{a="b"}[5s])', 'absent(nothing{a="b",c=~"d"})',
  'absent(up)', 'sum(requests_total)', 'sum by (path) (requests_total)', 'sum without (code) (requests_total)',
  'sum by (code, path) (rate(requests_total[10s]))', 'avg by (room) (temperature)', 'min(temperature)', 'max(temperature)',
  'count(requests_total)', 'count by (__name__) ({__name__=~".+_total"})', 'group by (room) (temperature)',
  'stddev(temperature)', 'stdvar by (room) (temperature)', 'quantile(0.3, temperature)', 'quantile by (room) (0.75, temperature)',
  'topk(2, requests_total)', 'bottomk(3, temperature)', 'topk by (path) (1, requests_total)', 'count_values("depth", queue_depth)',
  'requests_total > 50', 'requests_total > bool 50', '10 < temperature', 'temperature - 20', '2 * temperature / 3', 'queue_depth % 5',
  '2 ^ queue_depth', '-temperature', '1 + 2 * 3 ^ 2 - -1', '1 > bool 2', 'temperature + temperature',
  'sum by (path) (rate(requests_total{code="500"}[10s])) / on (path) sum by (path) (rate(requests_total[10s]))',
  'requests_total{code="500"} / ignoring (code) requests_total{code="200"}',
  'requests_total / on (path) group_left sum by (path) (requests_total)',
  'sum by (path) (requests_total) * on (path) group_right requests_total',
  'temperature and temperature > 15', 'temperature or queue_depth', 'temperature unless temperature > 15',
  'temperature == temperature', 'temperature != bool 3', 'requests_total atan2 3',
  'histogram_quantile(0.9, rate(latency_seconds_bucket[10s]))', 'histogram_quantile(0.5, sum by (le) (latency_seconds_bucket))',
  'histogram_quantile(0.99, sum by (le) (increase(latency_seconds_bucket[20s])))',
  'rate(latency_seconds_sum[10s]) / rate(latency_seconds_count[10s])',
  'abs(temperature)', 'ceil(temperature)', 'floor(temperature)', 'round(temperature)', 'round(temperature, 0.1)',
  'clamp(temperature, 18, 22)', 'clamp_min(temperature, 20)', 'clamp_max(temperature, 20)', 'sqrt(queue_depth)', 'exp(queue_depth)',
  'ln(queue_depth)', 'log2(queue_depth)', 'log10(queue_depth)', 'sgn(temperature)', 'scalar(sum(temperature))', 'scalar(temperature)',
  'vector(3)', 'time()', 'timestamp(queue_depth)', 'hour()', 'minute(vector(1700000000))', 'day_of_week()', 'days_in_month()', 'year()',
  'label_replace(temperature, "place", "room-$1", "room", "(.*)")', 'label_replace(temperature, "x", "${1}y", "room", "z(.*)")',
  'label_join(requests_total, "both", "-", "path", "code")', 'max_over_time(rate(requests_total[5s])[10s:2s])',
  'avg_over_time(sum(temperature)[12s:1s])', 'sort(temperature)', 'sort_desc(temperature)', 'sum(weird)', 'avg(weird)', 'max(weird)',
  'min(weird)', '"text"', '42', 'requests_total[6s]', 'temperature{room="x"}[10s] offset 3s', 'build_info',
  // and what both refuse
  'rate(requests_total)', 'sum(', 'requests_total{', '{}', '{a=~".*"}', 'temperature + on (room) requests_total', 'temperature and 1',
  '1 > 2', 'foo(1)', 'requests_total[5x]', 'sum by (path) requests_total',
  'label_replace(temperature, "0bad", "$1", "room", "(.*)")', 'label_replace(requests_total, "path", "x", "code", ".*")',
  'requests_total{code="500"} * on (path) requests_total',
];

// Prometheus has external labels only on what it sends, so none are configured. muster names the model after them.
const renamed = (labels) => {
  const { job, instance, ...rest } = labels;
  if (job !== undefined || instance !== undefined) rest.model = [job, instance].filter((x) => x !== undefined).join('/');
  return rest;
};
const key = (labels) => JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
const number = (text) => (text === 'NaN' ? NaN : text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));
const near = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y) || !Number.isFinite(x) || !Number.isFinite(y)) return Object.is(x, y) || x === y;
  return x === y || Math.abs(x - y) <= 1e-9 * Math.max(Math.abs(x), Math.abs(y));
};
const samePoints = (a, b) => a.length === b.length && a.every(([t, v], i) => t === b[i][0] && near(v, b[i][1]));

// Why two answers differ; '' when they do not.
function difference(theirs, ours) {
  if (theirs.status !== ours.status) return `status ${theirs.status} and ${ours.status}: ${theirs.error ?? ''} | ${ours.error ?? ''}`;
  if (theirs.status === 'error') return theirs.errorType === ours.errorType ? '' : `errors ${theirs.errorType} and ${ours.errorType}`;
  const [a, b] = [theirs.data, ours.data];
  if (a.resultType !== b.resultType) return `types ${a.resultType} and ${b.resultType}`;
  if (a.resultType === 'scalar' || a.resultType === 'string')
    return a.resultType === 'string' ? (a.result[1] === b.result[1] ? '' : 'texts') : samePoints([a.result], [b.result]) ? '' : `${a.result} and ${b.result}`;
  const points = (series) => series.values ?? [series.value];
  const mine = new Map(b.result.map((s) => [key(s.metric), s]));
  if (mine.size !== b.result.length) return 'a label set comes twice';
  if (a.result.length !== b.result.length)
    return `${a.result.length} and ${b.result.length} series: ${a.result.map((s) => key(renamed(s.metric))).join(' ').slice(0, 300)} | ${[...mine.keys()].join(' ').slice(0, 300)}`;
  for (const series of a.result) {
    const its = mine.get(key(renamed(series.metric)));
    if (!its) return `${key(renamed(series.metric))} is missing; there is ${[...mine.keys()].join(' ').slice(0, 300)}`;
    if (!samePoints(points(series), points(its)))
      return `${key(its.metric)}: ${JSON.stringify(points(series)).slice(0, 300)} and ${JSON.stringify(points(its)).slice(0, 300)}`;
  }
  return '';
}

await main({
  async 'the same questions, the same answers'() {
    const folder = temporaryFolder();
    const server = await serve(`${folder}/muster`);
    const port = await freePort();
    const targets = [await target('one', { resetEvery: 11 }), await target('three', { absentFrom: 9, absentTo: 15 }),
      await target('lasting', { buckets: false })];
    mkdirSync(`${folder}/prometheus`);
    writeFileSync(`${folder}/prometheus.yml`, `
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: alpha
    static_configs: [{targets: ['${targets[0].address}', '${targets[1].address}']}]
  - job_name: beta
    static_configs: [{targets: ['${targets[2].address}']}]
remote_write:
  - url: ${server.url}/api/v1/write
    queue_config: {max_samples_per_send: 500, batch_send_deadline: 500ms}
`);
    const began = Date.now();
    const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn'], { stdio: ['ignore', 'ignore', 'pipe'] });
    process.on('exit', () => prometheus.kill('SIGKILL'));
    const theirs = `http://127.0.0.1:${port}`;
    await eventually('scrapes', () => targets.every((t) => t.scrapes() >= seconds), (seconds + 60) * 1000);
    // The last target ends: its series get stale markers, which travel too.
    targets[1].close();
    await new Promise((resolve) => setTimeout(resolve, 6500));

    // What is asked about ends here, some seconds ago as a negative offset looks ahead of it, and is there once muster
    // has as many samples as Prometheus.
    console.log(`data after ${Date.now() - began} ms`);
    const end = Math.floor(Date.now() / 1000) - 5;
    const start = Math.floor(began / 1000) - 5;
    const ask = async (base, path, parameters) => (await fetch(`${base}/api/v1/${path}`, { method: 'POST', body: new URLSearchParams(parameters) })).json();
    const counted = (base) => ask(base, 'query', { query: ['up', 'requests_total', 'temperature', 'weird', 'queue_depth', 'latency_seconds_bucket', 'latency_seconds_sum']
      .map((name) => `sum(count_over_time(${name}[${end + 4 - start}s]))`).join(' + '), time: end + 4 });
    await eventually('all samples in muster', async () => {
      const [a, b] = [await counted(theirs), await counted(server.url)];
      if (!a.data || !b.data) throw new Error(JSON.stringify([a, b]));
      return a.data.result[0].value[1] === b.data.result[0].value[1] ? a : Promise.reject(new Error(`${a.data.result[0].value[1]} and ${b.data.result[0]?.value[1]}`));
    });

    const seen = { agreed: 0, asked: 0 };
    const faults = [];
    const compare = async (path, parameters) => {
      const [a, b] = await Promise.all([ask(theirs, path, parameters), ask(server.url, path, parameters)]);
      ++seen.asked;
      const why = difference(a, b);
      if (why) faults.push(`${path} ${JSON.stringify(parameters)}: ${why}`);
      else ++seen.agreed;
    };
    const asking = Date.now();
    for (const query of queries) {
      for (const time of [end, end - 12.345, start + 9]) await compare('query', { query, time });
      for (const step of ['1s', '3.7']) await compare('query_range', { query, start, end, step });
    }
    console.log(`${seen.agreed} of ${seen.asked} answers to ${queries.length} queries agreed, in ${Date.now() - asking} ms`);
    for (const fault of faults.slice(0, 40)) console.log(`     ${fault}`);
    check(faults.length === 0, 'every answer agrees');

    // Labels and series, under the name that the mapping gives.
    const names = await ask(server.url, 'labels', {});
    check(names.data.includes('model') && names.data.includes('path') && !names.data.includes('job'), `labels: ${names.data.join(' ')}`);
    const models = await json(`${server.url}/api/v1/label/model/values`);
    const instances = await json(`${theirs}/api/v1/label/instance/values`);
    check(models.data.length === instances.data.length, `models: ${models.data.join(' ')}`);
    for (const match of ['up', '{path="/a"}', '{__name__=~"latency.*",le!="+Inf"}']) {
      const [a, b] = await Promise.all([theirs, server.url].map((base) => ask(base, 'series', { 'match[]': match, start, end })));
      const sets = (list, name) => list.map((l) => key(name(l))).sort().join();
      check(sets(a.data, renamed) === sets(b.data, (l) => l), `series ${match}: ${b.data.length}`);
    }
    // muster's own form.
    const selector = encodeURIComponent('{metric="temperature"}');
    const range = await json(`${server.url}/api/v1/range?selector=${selector}&from=${start * 1000}&to=${end * 1000}&step=5s&aggregate=max&by=room&explain=true`);
    check(range.series.map((s) => s.labels.room).join() === 'x,y' && range.series[0].points.length > 4, 'a range by room');
    check(range.explain.selectors[0].samples > 0, `explained: ${JSON.stringify(range.explain)}`);
    const csv = await (await fetch(`${server.url}/api/v1/range?selector=${selector}&from=${start * 1000}&to=${end * 1000}`, { headers: { accept: 'text/csv' } })).text();
    const rows = csv.trim().split('\n');
    const theirCount = await ask(theirs, 'query', { query: `sum(count_over_time(temperature[${end - start}s]))`, time: end });
    check(rows[0] === 'ts,metric,model,room,value' && Math.abs(rows.length - 1 - Number(theirCount.data.result[0].value[1])) <= 6, `CSV: ${rows.length - 1} rows`);
    const top = await json(`${server.url}/api/v1/latest?selector=${selector}&top=2&order=desc`);
    check(top.series.length === 2 && top.series[0].points[0][1] >= top.series[1].points[0][1], 'latest, the top two');
    const refused = await fetch(`${server.url}/api/v1/query_range?query=up&start=0&end=${end}&step=1`);
    check(refused.status === 400 && (await refused.json()).errorType === 'bad_data', 'too many steps: 400');

    prometheus.kill('SIGTERM');
    await new Promise((resolve) => prometheus.on('exit', resolve));
    targets[0].close();
    targets[2].close();
    await server.stop();
  },
});
