// An invented fleet for the browser checks, made from a seed: the same every time, of any size. It has the
// shapes that the API gives (dashboards/web/src/types.ts).

export function rng(seed) {
  let a = seed >>> 0;
  const u = () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  u.n = () => Math.sqrt(-2 * Math.log(u() + 1e-12)) * Math.cos(6.283185 * u());
  u.pick = (list) => list[Math.floor(u() * list.length)];
  return u;
}

// family, team, models of 248, uses the failing source
const families = [
  ['ranking', 'search', 18, 1], ['ctr', 'ads', 16, 1], ['recs', 'discovery', 20, 1], ['churn', 'growth', 18, 1], ['fraud', 'trust', 22, 0],
  ['pricing', 'commerce', 19, 0], ['eta', 'logistics', 16, 0], ['demand', 'supply', 24, 0], ['credit', 'lending', 14, 0], ['moderate', 'trust', 13, 0],
  ['support', 'care', 11, 0], ['adbid', 'ads', 15, 0], ['embed', 'platform', 12, 0], ['spell', 'search', 9, 0], ['stock', 'supply', 21, 0],
];
const regions = ['eu', 'us', 'apac', 'latam'];
const metrics = ['null_rate', 'psi_drift', 'score_mean', 'latency_p95_ms', 'score_entropy'];
const columns = 144;
const minute = 60_000;

export class Fleet {
  // at: unix ms of the last closed tick
  constructor({ size = 248, seed = 7, at = Date.UTC(2026, 2, 9, 2, 12), learning = false, quiet = false } = {}) {
    this.u = rng(seed);
    this.at = Math.floor(at / minute) * minute;
    this.learning = learning;
    this.version = 1;
    this.models = [];
    this.scores = new Map();
    const u = this.u;
    families.forEach(([family, team, n, uses]) => {
      const count = Math.max(1, Math.round((n * size) / 248));
      for (let i = 0; i < count && this.models.length < size; i++) {
        const hit = uses && !quiet && u() < 0.43;
        const state = learning ? 'learning' : hit ? (u() < 0.45 ? 'failing' : 'degraded') : u() < 0.05 ? 'watch' : u() < 0.008 ? 'silent' : u() < 0.02 ? 'learning' : 'ok';
        const sigma = hit ? (u() < 0.5 ? -1 : 1) * (4 + 7 * u()) : state === 'watch' ? 2.4 : 0;
        const metric = u.pick(metrics);
        this.models.push({
          id: `${family}-${regions[i % 4]}-${String(Math.floor(i / 4)).padStart(2, '0')}`, family, region: regions[i % 4], team, version: `v${1 + Math.floor(u() * 90)}`,
          state, worst_metric: metric, worst_sigma: sigma, score: hit ? 62 + Math.floor(38 * u()) : state === 'watch' ? 28 : Math.floor(12 * u()), trend: hit ? -1 : u() < 0.1 ? 1 : u() < 0.1 ? -1 : 0,
          incident: hit ? 'INC-0412' : null, learning_days_left: state === 'learning' ? 6.4 : 0, last_seen: this.at - (state === 'silent' ? 272 * minute : 0),
          caption: hit || state === 'watch' ? `${metric} ${sigma < 0 ? '-' : '+'}${Math.abs(sigma).toFixed(1)} sigma since 01:31` : state === 'silent' ? 'no samples for 4 h 32 min' : state === 'learning' ? 'learning, 6 days to go' : '',
        });
      }
    });
    this.models.sort((a, b) => (a.id < b.id ? -1 : 1));
    this.ticks = Array.from({ length: columns }, (_, i) => this.at - (columns - 1 - i) * 10 * minute);
    for (const m of this.models) {
      const row = new Uint8Array(columns);
      let w = 0;
      for (let t = 0; t < columns; t++) {
        w = 0.82 * w + 4.2 * u.n();
        let x = Math.max(0, 4 + 0.7 * w + 16 * Math.exp(-((t - 101) ** 2) / 14));
        if (m.incident && t >= 139) x += m.score * (1 - Math.exp(-(t - 138) / 1.3));
        row[t] = m.state === 'silent' && t > 116 ? 255 : Math.min(100, Math.max(0, Math.round(x)));
      }
      this.scores.set(m.id, row);
    }
    const hits = this.models.filter((m) => m.incident);
    const uses = this.models.filter((m) => families.find((f) => f[0] === m.family)[3]);
    this.incident = {
      id: 'INC-0412', state: 'open', severity: 'critical', paged: true, opened_at: this.at - 22 * minute, started_at: this.at - 41 * minute, updated_at: this.at, resolved_at: null, merged_into: '',
      cause: 'src-clickstream', cause_kind: 'source', team: 'feeds', title: `src-clickstream has moved ${hits.length} of its ${uses.length} models since ${new Date(this.at - 41 * minute).toISOString().slice(11, 16)}.`, score: 100, evidence: 41000, needed: 18000, moved: hits.length, members: uses.length,
      acked_at: null, acked_by: '',
    };
    const small = (id, over) => ({ ...this.incident, id, severity: 'warning', paged: false, opened_at: this.at - 780 * minute, started_at: this.at - 800 * minute, cause: 'pkg-tokenizer', cause_kind: 'package', team: 'platform', title: 'pkg-tokenizer has moved embeddings of 6 of its 23 models since it was installed.', score: 74, evidence: 900, moved: 6, members: 23, ...over });
    this.open = quiet || learning ? [] : [this.incident, small('INC-0411', { acked_at: this.at - 700 * minute, acked_by: 'platform on-call' }), small('INC-0409', { severity: 'info', score: 58, cause: 'region:latam', cause_kind: 'region', team: '', title: 'latam: labels arrive late; performance of 4 models is not known.', moved: 4, members: 16 })];
    this.recent = learning ? [] : [{ ...small('INC-0410'), state: 'resolved', opened_at: this.at - 300 * minute, resolved_at: this.at - 35 * minute, cause: 'src-fx', title: 'src-fx moved 9 of its 31 models.' }];
    this.events = [
      [7, 'retrain', 'model:pricing-us-01', 'v19 loaded, retrained on request'], [29, 'deploy', 'model:fraud-eu-02', 'v64'], [36, 'package', 'dependency:xgboost', '2.1.1 to 2.1.2 on 3 of 21'], [50, 'deploy', 'dependency:pipe-sessionize', 'pipe-sessionize v88'],
      [432, 'holiday', 'fleet', 'fleet-wide move'], [780, 'package', 'dependency:pkg-tokenizer', 'pkg-tokenizer 4.2.0'],
    ].map(([ago, kind, subject, title]) => ({ ts: this.at - ago * minute, kind, subject, title }));
    if (learning) this.events = [];
    this.findings = quiet ? [] : [
      { kind: 'limit', model: 'pricing-us-01', metric: 'null_rate', since: this.at - 12 * minute, text: 'is 0.31, above its limit 0.2' },
      ...this.models.filter((m) => m.state === 'silent').slice(0, 4).map((m) => ({ kind: 'no_data', model: m.id, metric: '', since: this.at - 272 * minute, text: 'has sent nothing' })),
      { kind: 'flat', model: 'stock-eu-01', metric: 'score_mean', since: this.at - 190 * minute, text: 'repeats one value' },
    ];
    this.notes = [];
  }

  // The parts of the answer that each tick has too.
  head() {
    const n = (s) => this.models.filter((m) => m.state === s).length;
    return {
      version: `${this.at}.${this.version}`, at: this.at, tick_seconds: 60, learning: this.learning, learning_days_left: this.learning ? 6.4 : 0, series: this.models.length * 5, samples: 41_250_000,
      ledger: { budget_per_week: 1, since: this.at - 28 * 86_400_000, promised: 4, sent: 2 },
      coverage: { models: this.models.length, reporting: this.models.length - n('silent'), learning: n('learning'), silent: n('silent') },
      incidents: this.open, recent_incidents: this.recent, static_findings: this.findings,
    };
  }

  heat() {
    const all = Buffer.concat(this.models.map((m) => Buffer.from(this.scores.get(m.id))));
    return { ticks: this.ticks, models: this.models.map((m) => m.id), scores: all.toString('base64') };
  }

  json(parts = '') {
    const wants = (p) => !parts || parts.split(',').includes(p);
    const whole = wants('core') ? { ...this.head(), models: this.models, dependencies: [], events: this.events } : { version: this.head().version, at: this.at };
    if (wants('heat')) whole.heat = this.heat();
    return whole;
  }

  // One tick on: a few models change, the strip gains a column. Gives what the stream says.
  tick() {
    this.at += 10 * minute;
    this.version++;
    const changed = [];
    this.models = this.models.map((m) => {
      const row = this.scores.get(m.id);
      const score = m.state === 'silent' ? 255 : Math.max(0, Math.min(100, m.score + Math.round(2 * this.u.n())));
      row.copyWithin(0, 1);
      row[columns - 1] = score;
      if (m.state === 'silent' || this.u() > 0.1) return m;
      const next = { ...m, score, last_seen: this.at };
      changed.push(next);
      return next;
    });
    this.ticks = [...this.ticks.slice(1), this.at];
    this.incident.updated_at = this.at;
    return { ...this.head(), full: false, removed: [], models: changed, events: [], column_at: this.at, column: Buffer.from(this.models.map((m) => this.scores.get(m.id)[columns - 1])).toString('base64') };
  }

  detail(id) {
    const i = [...this.open, ...this.recent].find((x) => x.id === id);
    if (!i) return null;
    const u = rng(40);
    const start = this.at - 163 * minute;
    const line = [];
    let e = 0.3;
    for (let t = start; t <= i.opened_at; t += minute) {
      const since = (t - i.started_at) / minute;
      e = Math.max(0, 0.93 * e + 0.12 * u.n() + 0.02);
      const log = since < 0 ? e : Math.min(4.613, 0.3 + since * 0.24 + 0.1 * u.n());
      line.push({ ts: t, ratio: 10 ** Math.max(0, log), moved: since < 0 ? Math.max(0, Math.round(3.4 + 1.4 * u.n())) : Math.round(3.6 + (i.moved - 3.6) * (1 - Math.exp(-since / 8))) });
    }
    for (let t = i.opened_at + minute; t <= this.at; t += minute) line.push({ ts: t, ratio: 10 ** (4.6 + 0.02 * ((t - i.opened_at) / minute)), moved: i.moved });
    const hits = this.models.filter((m) => m.incident === id).sort((a, b) => Math.abs(b.worst_sigma) - Math.abs(a.worst_sigma));
    const affected = hits.map((m, k) => {
      const a = { model: m.id, metric: m.worst_metric, sigma: m.worst_sigma, since: i.started_at + (k % 9) * minute };
      if (k >= 20) return a;
      const level = { null_rate: 0.02, psi_drift: 0.08, score_mean: 0.31, latency_p95_ms: 182, score_entropy: 1.9 }[m.worst_metric];
      const sd = 0.06 * level;
      Object.assign(a, { ts: [], value: [], low: [], high: [] });
      let w = 0;
      for (let t = 0; t < 240; t++) {
        const ts = this.at - (239 - t) * minute;
        const base = level * (1 + 0.1 * Math.sin(t / 60 + k));
        w = 0.6 * w + 0.8 * u.n();
        const late = Math.max(0, (ts - a.since) / minute);
        a.ts.push(ts);
        a.value.push(k === 7 && t > 120 && t < 140 ? null : base + sd * (0.7 * w + m.worst_sigma * (1 - Math.exp(-late / 7))));
        a.low.push(base - 1.96 * sd);
        a.high.push(base + 1.96 * sd);
      }
      return a;
    });
    const told = i.paged ? [[0, 'feeds-oncall', 'webhook', 'delivered', '200 in 0.1 s'], [1, 'feeds-log', 'log', 'delivered', ''], [15, 'platform-oncall', 'webhook', 'failed', 'connection refused; again in 2 min']] : [];
    return {
      ...i, why: `Evidence ${Math.round(i.evidence)} : 1 against nothing changed, ${i.needed} : 1 needed. 3.6 of ${i.members} would look like this by chance.`,
      first_look: 'First, look at src-clickstream: all 4 families that use it moved within 9 min. Nothing suggests that the models themselves are at fault; do not roll them back.',
      expected_by_chance: 3.6, explained: 0.88,
      suspects: [['src-clickstream', 'source', 0.94, 31, 72, 0.88, 'all 4 families that use it moved, 11 that do not are calm'], ['pipe-sessionize', 'feature_pipeline', 0.03, 21, 34, 0.61, 'leaves recs and churn unexplained'], ['pipe-item-stats', 'feature_pipeline', 0.01, 19, 50, 0.48, 'embed uses it too and is calm'], ['region:eu', 'region', 0.01, 9, 62, 0.22, 'us and apac moved as well'], ['unknown', 'unknown', 0.004, 31, 248, 0.88, 'a set this regular is rarely chance']].map(([dependency, kind, posterior, moved, members, explained, why]) => ({ dependency, kind, posterior, score: 0, moved, members, explained, why })),
      affected, models: hits.map((m) => m.id).sort(), metrics, timeline: line, events: this.events.filter((x) => x.ts <= i.opened_at && x.ts > i.opened_at - 360 * minute),
      notes: this.notes, deliveries: told.map(([after, receiver, channel, state, answer]) => ({ ts: i.opened_at + after * minute, receiver, channel, state, answer })),
    };
  }
}
