// OpenTelemetry's own JavaScript SDK and exporters send to muster: JSON and protobuf, plain and gzip, cumulative and
// delta. Every data point that an exporter was given stands in the store once with its value, across requests sent
// twice, a restart and a kill; and the sums are those that were recorded.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, eventually, json, main, start, temporaryFolder } from './support.mjs';

const client = createRequire(new URL('./clients/package.json', import.meta.url));
const { OTLPMetricExporter: JsonExporter, AggregationTemporalityPreference } = client('@opentelemetry/exporter-metrics-otlp-http');
const { OTLPMetricExporter: ProtobufExporter } = client('@opentelemetry/exporter-metrics-otlp-proto');
const { CompressionAlgorithm } = client('@opentelemetry/otlp-exporter-base');
const { resourceFromAttributes } = client('@opentelemetry/resources');
const { AggregationType, DataPointType, MeterProvider, PeriodicExportingMetricReader } = client('@opentelemetry/sdk-metrics');

const rounds = 12, restartAt = 4, killAt = 8;

const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-d', `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql],
    { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trim().split('\n').filter(Boolean).map((line) => line.split('\t'));
}

// The same recordings in every run (mulberry32).
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ms = ([seconds, nanos]) => seconds * 1000 + Math.floor(nanos / 1e6);

const prometheusNames = {
  'jobs.done': 'jobs_done_total', 'disk.read': 'disk_read_bytes_total', 'queue.depth': 'queue_depth',
  'null.rate': 'null_rate_ratio', 'cache.age': 'cache_age_seconds', latency: 'latency_milliseconds', size: 'size_bytes',
};

// A careful sender: the same request until it is taken, and every third one twice.
class Careful {
  constructor(exporter, ledger) {
    this.exporter = exporter;
    this.ledger = ledger;
    this.requests = 0;
    this.repeats = 0;
  }

  selectAggregationTemporality(type) { return this.exporter.selectAggregationTemporality(type); }
  selectAggregation(type) { return this.exporter.selectAggregation(type); }

  once(metrics) {
    return new Promise((resolve) => this.exporter.export(metrics, (result) => resolve(result.code === 0)));
  }

  async export(metrics, done) {
    ++this.requests;
    this.ledger.push(metrics);
    while (!await this.once(metrics)) {
      if (++this.repeats > 200) throw new Error('never taken');
      await sleep(100);
    }
    if (this.requests % 3 === 0 && !await this.once(metrics)) throw new Error('the same again was refused');
    done({ code: 0 });
  }

  forceFlush() { return this.exporter.forceFlush(); }
  shutdown() { return this.exporter.shutdown(); }
}

// What the exporter was given, as samples: [name, labels, ms, value]. Buckets of exponential histograms are looked
// at apart, as their boundaries are muster's choice.
function samplesOf(ledger) {
  const samples = [], exponential = [], starts = new Map();
  for (const { scopeMetrics } of ledger) {
    for (const metric of scopeMetrics.flatMap((scope) => scope.metrics)) {
      const name = prometheusNames[metric.descriptor.name];
      for (const point of metric.dataPoints) {
        const at = ms(point.endTime);
        const add = (suffix, value, more = {}) => {
          const key = seriesKey(name + suffix, { ...point.attributes, ...more });
          samples.push([key, at, value]);
          starts.set(key, ms(point.startTime));
        };
        if (metric.dataPointType === DataPointType.GAUGE || metric.dataPointType === DataPointType.SUM) {
          add('', point.value);
          continue;
        }
        add('_count', point.value.count);
        if (point.value.sum !== undefined) add('_sum', point.value.sum);
        add('_bucket', point.value.count, { le: '+Inf' });
        if (metric.dataPointType === DataPointType.EXPONENTIAL_HISTOGRAM) {
          exponential.push([name, at, point.value]);
          continue;
        }
        let seen = 0;
        point.value.buckets.boundaries.forEach((le, i) => {
          seen += point.value.buckets.counts[i];
          add('_bucket', seen, { le: String(le) });
        });
      }
    }
  }
  return { samples, exponential, starts };
}

const seriesKey = (name, labels) => `${name}{${Object.entries(labels).map(([k, v]) => `${k.replaceAll('.', '_')}="${v}"`).sort().join(',')}}`;

// A metric as muster stores it, without who sent it: that is the model's own.
function keyOf(metric) {
  const [, name, inner = ''] = metric.match(/^([^{]*)(?:\{(.*)\})?$/);
  const labels = Object.fromEntries([...inner.matchAll(/([^=,]+)="([^"]*)"/g)].map(([, k, v]) => [k, v])
    .filter(([k]) => k !== 'job' && k !== 'instance'));
  return seriesKey(name, labels);
}

function sender(name, url, { Exporter, temporality, compression }) {
  const ledger = [];
  const exporter = new Careful(new Exporter({ url: `${url}/v1/metrics`, temporalityPreference: temporality, compression,
    timeoutMillis: 1000 }), ledger);
  // Exported when it is told to be, not by a clock.
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000, exportTimeoutMillis: 120_000 });
  const provider = new MeterProvider({
    readers: [reader],
    resource: resourceFromAttributes({ 'service.name': 'shop', 'service.instance.id': `i-${name}`, 'service.version': 'v7',
      'model.name': name, 'host.name': 'box' }),
    views: [{ instrumentName: 'size', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM, options: { recordMinMax: true } } }],
  });
  const meter = provider.getMeter('e2e', '1');
  const next = random(name.length * 7919 + name.charCodeAt(0));
  const state = { jobs: { a: 0, b: 0 }, depth: 0, bytes: 0, latencies: [], sizes: [], rate: 0 };
  const jobs = meter.createCounter('jobs.done', { unit: '{job}' });
  const depth = meter.createUpDownCounter('queue.depth');
  const latency = meter.createHistogram('latency', { unit: 'ms', advice: { explicitBucketBoundaries: [0.5, 5, 50, 1000] } });
  const size = meter.createHistogram('size', { unit: 'By' });
  const age = meter.createGauge('cache.age', { unit: 's' });
  meter.createObservableGauge('null.rate', { unit: '1' }).addCallback((r) => r.observe(state.rate, { 'feature.name': 'age' }));
  meter.createObservableCounter('disk.read', { unit: 'By' }).addCallback((r) => r.observe(state.bytes));
  return {
    name, exporter, ledger, state, delta: temporality === AggregationTemporalityPreference.DELTA,
    async round() {
      for (let n = 1 + Math.floor(next() * 20); n-- > 0;) {
        const kind = next() < 0.5 ? 'a' : 'b', amount = 1 + Math.floor(next() * 5);
        state.jobs[kind] += amount;
        jobs.add(amount, { kind });
        const step = Math.floor(next() * 7) - 3;
        state.depth += step;
        depth.add(step);
        // Halves, so that every sum is exact.
        const took = Math.floor(next() * 4000) / 2;
        state.latencies.push(took);
        latency.record(took);
        const bytes = Math.floor(next() * 1e6) + 1;
        state.sizes.push(bytes);
        size.record(bytes);
      }
      state.rate = next();
      state.bytes += Math.floor(next() * 1e6);
      age.record(next() * 100);
      await sleep(3);  // an instant of its own
      await reader.forceFlush();
    },
    end: () => provider.shutdown(),
  };
}

await main({
  async 'every data point of the SDK is stored once'() {
    const folder = temporaryFolder();
    const port = await freePort();
    const serve = () => start(['serve', '--data-dir', folder, '--listen', `127.0.0.1:${port}`]);
    let server = await serve();
    const url = `http://127.0.0.1:${port}`;
    const { CUMULATIVE, DELTA } = AggregationTemporalityPreference;
    const { GZIP, NONE } = CompressionAlgorithm;
    const senders = [
      sender('json-cumulative', url, { Exporter: JsonExporter, temporality: CUMULATIVE, compression: GZIP }),
      sender('json-delta', url, { Exporter: JsonExporter, temporality: DELTA, compression: NONE }),
      sender('protobuf-cumulative', url, { Exporter: ProtobufExporter, temporality: CUMULATIVE, compression: NONE }),
      sender('protobuf-delta', url, { Exporter: ProtobufExporter, temporality: DELTA, compression: GZIP }),
    ];
    for (let round = 0; round < rounds; ++round) {
      const sent = Promise.all(senders.map((s) => s.round()));
      if (round === restartAt || round === killAt) {
        await (round === restartAt ? server.stop() : server.kill());
        server = await serve();
      }
      await sent;
    }
    const repeats = senders.map((s) => s.exporter.repeats);
    check(repeats.every((n) => n < 200), `${rounds} requests of each sender taken; tried again: ${repeats}`);

    for (const s of senders) {
      const rows = psql(folder, `SELECT metric, (extract(epoch FROM ts) * 1000)::bigint, value FROM v_sample_recent WHERE model = '${s.name}'`)
        .map(([metric, at, value]) => [keyOf(metric), Number(at), Number(value)]);
      const { samples, exponential, starts } = samplesOf(s.ledger);
      const stored = new Map();
      let twice = 0;
      for (const [key, at, value] of rows) {
        const id = `${key} @${at}`;
        if (stored.has(id)) ++twice;
        stored.set(id, value);
      }
      check(twice === 0, `${s.name}: ${rows.length} samples, none twice`);
      const wrong = samples.filter(([key, at, value]) => stored.get(`${key} @${at}`) !== value);
      check(wrong.length === 0, `${s.name}: all ${samples.length} samples of ${s.ledger.length} exports have their values ${JSON.stringify(wrong.slice(0, 3))}`);

      // Beside them: buckets of the exponential histogram, target_info, and a zero where a counter began.
      const expected = new Set(samples.map(([key, at]) => `${key} @${at}`));
      const others = rows.filter(([key, at]) => !expected.has(`${key} @${at}`));
      const odd = others.filter(([key, at, value]) => !key.startsWith('size_bytes_bucket{') && !key.startsWith('target_info{') &&
        !(value === 0 && starts.get(key) === at));
      check(odd.length === 0, `${s.name}: nothing else is stored ${JSON.stringify(odd.slice(0, 3))}`);
      const info = others.filter(([key]) => key.startsWith('target_info{'));
      check(info.length === s.ledger.length && info.every(([key, , value]) => key === 'target_info{host_name="box"}' && value === 1),
        `${s.name}: a target_info for each export`);

      for (const [name, at, value] of exponential) {
        const buckets = rows.filter(([key, t]) => t === at && key.startsWith(`${name}_bucket{`))
          .map(([key, , count]) => [Number(key.match(/le="([^"]*)"/)[1].replace('+Inf', 'Infinity')), count])
          .sort(([a], [b]) => a - b);
        let last = 0;
        const sound = buckets.every(([, count]) => { const grows = count >= last; last = count; return grows; });
        if (!sound || last !== value.count || buckets.length < 2 || buckets[0][1] !== value.zeroCount) throw new Error(`${s.name}: buckets of ${name} at ${at}: ${JSON.stringify(buckets)}`);
      }
      check(exponential.length > 0, `${s.name}: ${exponential.length} exponential histograms have sound buckets`);

      // Against what was recorded, whatever the SDK made of it.
      const values = (key) => rows.filter(([k, at, v]) => k === key && !(v === 0 && starts.get(k) === at)).sort((a, b) => a[1] - b[1]).map(([, , v]) => v);
      const total = (key) => (s.delta ? values(key).reduce((a, b) => a + b, 0) : values(key).at(-1));
      const sum = (list) => list.reduce((a, b) => a + b, 0);
      const same = (what, is, should) => check(is === should, `${s.name}: ${what} is ${should}${is === should ? '' : `, not ${is}`}`);
      same('jobs a', total('jobs_done_total{kind="a"}'), s.state.jobs.a);
      same('jobs b', total('jobs_done_total{kind="b"}'), s.state.jobs.b);
      same('bytes', total('disk_read_bytes_total{}'), s.state.bytes);
      same('depth', values('queue_depth{}').at(-1), s.state.depth);
      same('latencies', total('latency_milliseconds_count{}'), s.state.latencies.length);
      same('latency', total('latency_milliseconds_sum{}'), sum(s.state.latencies));
      same('latencies to 50 ms', total('latency_milliseconds_bucket{le="50"}'), s.state.latencies.filter((x) => x <= 50).length);
      same('sizes', total('size_bytes_count{}'), s.state.sizes.length);
      same('size', total('size_bytes_sum{}'), sum(s.state.sizes));
      same('null rate', values('null_rate_ratio{feature_name="age"}').at(-1), s.state.rate);
    }

    const kinds = psql(folder, "SELECT model, kind FROM series WHERE metric LIKE 'jobs_done_total%' OR metric LIKE 'latency_milliseconds_bucket%' GROUP BY 1, 2 ORDER BY 1, 2")
      .map(([model, kind]) => `${model} ${kind}`);
    // Kinds of schema/series.hpp: 1 counter, 2 bucket, 3 delta, 4 delta_bucket.
    check(JSON.stringify(kinds) === JSON.stringify(['json-cumulative 1', 'json-cumulative 2', 'json-delta 3', 'json-delta 4',
      'protobuf-cumulative 1', 'protobuf-cumulative 2', 'protobuf-delta 3', 'protobuf-delta 4']), 'counters and buckets are kept as what they are');
    const versions = psql(folder, "SELECT DISTINCT version FROM v_sample_recent WHERE model LIKE '%-delta' OR model LIKE '%-cumulative'");
    check(versions.length === 1 && versions[0][0] === 'v7', 'the version is the service’s');

    const fleet = await eventually('the models on the fleet', async () => {
      const found = await json(`${url}/api/v1/fleet`);
      return senders.every((s) => found.models.some((m) => m.id === s.name)) ? found : null;
    });
    check(fleet.models.length === senders.length, 'a model each');
    const page = await (await fetch(`${url}/metrics`)).text();
    check(/muster_otlp_data_points_total\{outcome="rejected"\} 0/.test(page), 'no data point was rejected');
    const again = Number(page.match(/^muster_ingest_samples_duplicate_total (\d+)/m)[1]);
    check(again > 0, `${again} samples that came twice since the kill were known`);
    for (const s of senders) await s.end();
    await server.stop();
  },
});
