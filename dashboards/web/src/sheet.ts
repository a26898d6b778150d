import type { Heat } from './fleet_state';
import type { FleetEvent, IncidentSummary, Model, ModelState } from './types';

// The sheet: which models stand in which row, in which order, and what a row says. Pure.

export type GroupBy = 'family' | 'team' | 'region';
export const group_bys: GroupBy[] = ['family', 'team', 'region'];

// Worst first.
export const states: ModelState[] = ['failing', 'degraded', 'watch', 'silent', 'muted', 'learning', 'ok'];
const rank = Object.fromEntries(states.map((s, i) => [s, i])) as Record<ModelState, number>;

export const state_words: Record<ModelState, string> = {
  ok: 'healthy', watch: 'watch', degraded: 'degraded', failing: 'failing', learning: 'learning', silent: 'silent', muted: 'muted',
};

export interface Filter {
  words: string;
  states: ModelState[];
}

export interface Group {
  key: string;
  models: Model[];
}

export function matches(m: Model, filter: Filter): boolean {
  if (filter.states.length && !filter.states.includes(m.state)) return false;
  const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = `${m.id} team:${m.team} family:${m.family} region:${m.region} version:${m.version} ${m.incident ?? ''} ${m.caption}`.toLowerCase();
  return words.every((w) => text.includes(w));
}

export function count_states(models: Model[]): Record<ModelState, number> {
  const n = Object.fromEntries(states.map((s) => [s, 0])) as Record<ModelState, number>;
  for (const m of models) n[m.state]++;
  return n;
}

// By state, then by the score in steps: a score that trembles does not make its cell jump about.
const score_step = 20;
export const worst_first = (a: Model, b: Model) =>
  rank[a.state] - rank[b.state] || Math.floor(b.score / score_step) - Math.floor(a.score / score_step) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

// Groups of models, worst first, and in them the models, worst first. `order` is an order that was shown
// before: while the reader points at the sheet nothing changes its place, and what is new goes last.
export function groups_of(models: Model[], by: GroupBy, order?: Order): Group[] {
  const map = new Map<string, Model[]>();
  for (const m of models) {
    const list = map.get(m[by]);
    if (list) list.push(m);
    else map.set(m[by], [m]);
  }
  const groups = [...map].map(([key, list]) => ({ key, models: list }));
  if (order && order.by === by) {
    const place = (id: string) => order.models.get(id) ?? Number.MAX_SAFE_INTEGER;
    for (const g of groups) g.models.sort((a, b) => place(a.id) - place(b.id) || worst_first(a, b));
    const at = (key: string) => order.groups.get(key) ?? Number.MAX_SAFE_INTEGER;
    return groups.sort((a, b) => at(a.key) - at(b.key));
  }
  for (const g of groups) g.models.sort(worst_first);
  const badness = groups.map((g) => ({ g, n: count_states(g.models) }));
  badness.sort(
    (a, b) =>
      b.n.failing - a.n.failing || b.n.degraded - a.n.degraded ||
      b.n.watch / b.g.models.length - a.n.watch / a.g.models.length || b.n.silent - a.n.silent ||
      b.g.models.length - a.g.models.length || (a.g.key < b.g.key ? -1 : 1),
  );
  return badness.map(({ g }) => g);
}

export interface Order {
  by: GroupBy;
  groups: Map<string, number>;
  models: Map<string, number>;
}

export function order_of(groups: Group[], by: GroupBy): Order {
  const models = new Map<string, number>();
  for (const g of groups) for (const m of g.models) models.set(m.id, models.size);
  return { by, groups: new Map(groups.map((g, i) => [g.key, i])), models };
}

export interface CaptionPart {
  tone: 'fail' | 'degr' | 'watch' | '';
  text: string;
  detail?: string;
}

const since_cut = (caption: string) => caption.replace(/ since .*/, '');

// The worst thing of a row in words. What an incident explains says so, and is not blamed a second time.
export function caption_of(models: Model[]): CaptionPart[] {
  const parts: CaptionPart[] = [];
  const in_trouble = (m: Model) => m.state === 'failing' || m.state === 'degraded' || m.state === 'watch';
  const explained = new Map<string, Model[]>();
  for (const m of models) {
    if (!m.incident || !in_trouble(m)) continue;
    const list = explained.get(m.incident);
    if (list) list.push(m);
    else explained.set(m.incident, [m]);
  }
  for (const [id, list] of [...explained].sort((a, b) => b[1].length - a[1].length)) {
    const tone = list.some((m) => m.state === 'failing') ? 'fail' : list.some((m) => m.state === 'degraded') ? 'degr' : 'watch';
    parts.push({ tone, text: `${list.length} shifted, ${id}` });
  }
  const own = (state: ModelState) => models.filter((m) => m.state === state && !m.incident);
  for (const [state, tone] of [['failing', 'fail'], ['degraded', 'degr'], ['watch', 'watch']] as const) {
    const list = own(state);
    if (!list.length) continue;
    parts.push({ tone, text: `${list.length} ${state_words[state]}` });
    if (parts.length === 1 && list[0].caption) parts[0].detail = since_cut(list[0].caption);
  }
  for (const state of ['silent', 'learning', 'muted'] as const) {
    const n = models.filter((m) => m.state === state).length;
    if (n) parts.push({ tone: '', text: `${n} ${state_words[state]}` });
  }
  return parts.length ? parts : [{ tone: '', text: 'all inside their bands' }];
}

// Cells shrink when there are many, and keep their shape.
export function cell_size(models: number): { size: number; gap: number } {
  return models > 600 ? { size: 11, gap: 2 } : { size: 24, gap: 3 };
}

export function cells_height(n: number, width: number, size: number, gap: number): number {
  const per_row = Math.max(1, Math.floor((width + gap) / (size + gap)));
  return Math.ceil(n / per_row) * (size + gap) - gap;
}

export function model_label(m: Model): string {
  const why = m.caption || 'no monitor is out of its band';
  return `${m.id}, ${state_words[m.state]}, ${why}`;
}

// How a row's strip is cut into lines: `pool` models share a line (the worst of them is drawn), each line
// `line_px` high. A row of a large fleet stays below 62 px.
export function strip_shape(models: number, large: boolean, phone: boolean): { pool: number; lines: number; line_px: number } {
  const rows_max = 62;
  const pool = large ? Math.max(1, Math.ceil(models / rows_max)) : 1;
  const lines = Math.ceil(models / pool);
  const line_px = large ? Math.max(1, Math.floor(rows_max / Math.max(1, lines))) : phone || models > 40 ? 2 : 3;
  return { pool, lines, line_px: Math.min(line_px, 6) };
}

// One row's strip as scores, line-major: the worst of the pooled models, 255 where none has data.
export function pooled(heat: Heat, index: Map<string, number>, models: Model[], pool: number): Uint8Array {
  const width = heat.ticks.length;
  const lines = Math.ceil(models.length / pool);
  const out = new Uint8Array(lines * width).fill(255);
  models.forEach((m, i) => {
    const row = index.get(m.id);
    if (row === undefined) return;
    const line = Math.floor(i / pool) * width;
    for (let t = 0; t < width; t++) {
      const score = heat.scores[row * width + t];
      if (score === 255) continue;
      const at = line + t;
      if (out[at] === 255 || score > out[at]) out[at] = score;
    }
  });
  return out;
}

// What happened, on the time axis of the strips.
export interface Mark {
  ts: number;
  kind: 'deploy' | 'data' | 'package' | 'page' | 'retrain' | 'fleet';
  label: string;
}

export function mark_kind(e: FleetEvent): Mark['kind'] {
  if (e.kind === 'retrain') return 'retrain';
  if (e.kind === 'package') return 'package';
  if (e.kind === 'deploy' || e.kind === 'experiment') return 'deploy';
  if (e.subject === 'fleet' || e.kind === 'holiday' || e.kind === 'maintenance') return 'fleet';
  return 'data';
}

export function marks_of(events: FleetEvent[], incidents: IncidentSummary[], from: number): Mark[] {
  const marks: Mark[] = [];
  for (const e of events) if (e.ts >= from) marks.push({ ts: e.ts, kind: mark_kind(e), label: e.title });
  for (const i of incidents) if (i.paged && i.opened_at >= from) marks.push({ ts: i.opened_at, kind: 'page', label: i.id });
  return marks.sort((a, b) => a.ts - b.ts);
}

export const shortened = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}\u2026` : text);

export interface Placed extends Mark {
  x: number;
  level: number;
  text: string;  // empty: only the marker is drawn
  end: boolean;  // the label stands left of its marker
}

// Labels on two levels, 0 near the plot. If they still collide the later one keeps its label and the others
// their marker; a page comes before all. `width_of` gives a label's width in px.
export function place(marks: Mark[], x_of: (ts: number) => number, width: number, label_of: (m: Mark) => string, width_of: (text: string) => number): Placed[] {
  const taken: [number, number][][] = [[], []];
  const placed = marks.map((m): Placed => ({ ...m, x: x_of(m.ts), level: 0, text: '', end: false }));
  const wanted = [...placed].sort((a, b) => Number(b.kind === 'page') - Number(a.kind === 'page') || b.ts - a.ts);
  // Whatever finds no room for its label stands on level 0, so a label there keeps clear of all of them.
  const free = (p: Placed, level: number, from: number, to: number) =>
    taken[level].every(([a, b]) => to < a || from > b) &&
    (level === 1 || placed.every((o) => o === p || o.level === 1 || o.x + 6 < from || o.x - 6 > to));
  for (const p of wanted) {
    const text = label_of(p);
    if (!text) continue;
    const w = width_of(text);
    const sides = p.x + 10 + w < width ? [false, true] : [true, false];
    search: for (const end of sides) {
      const from = end ? p.x - 10 - w : p.x - 6;
      const to = end ? p.x + 6 : p.x + 10 + w;
      if (from < 0 || to > width + 8) continue;
      for (const level of [0, 1]) {
        if (!free(p, level, from, to)) continue;
        taken[level].push([from, to]);
        Object.assign(p, { level, text, end });
        break search;
      }
    }
  }
  return placed;
}

// Hours at the axis: about one in 80 px, on round hours of the viewer's clock.
export function hour_ticks(from: number, to: number, width: number): number[] {
  const hour = 3_600_000;
  const spans = [hour / 12, hour / 4, hour / 2, hour, 2 * hour, 4 * hour, 6 * hour, 8 * hour, 12 * hour, 24 * hour];
  const wanted = Math.max(2, width / 80);
  const step = spans.find((s) => (to - from) / s <= wanted) ?? 24 * hour;
  const offset = new Date(to).getTimezoneOffset() * 60_000;
  const ticks: number[] = [];
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= to; t += step) ticks.push(t);
  return ticks;
}
