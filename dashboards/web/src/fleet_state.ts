import type { FleetJson, HeatJson, IncidentSummary, Model, TickJson } from './types';
import { incident_here, model_here } from './zone';

// The heat strip as bytes: model-major, one row a model in id order, oldest first, 255 = no data.
export interface Heat {
  ticks: number[];
  ids: string[];
  scores: Uint8Array;
}

// The fleet as the pages hold it. A tick gives a new value; models that did not change stay the same object,
// so that only what changed is drawn again. `models` is sorted by id.
export interface Fleet extends Omit<FleetJson, 'recent_incidents' | 'heat'> {
  recent: IncidentSummary[];
  heat: Heat | null;
}

export const no_data = 255;
// As many as the server sends; the list is cut so that a page left open for days does not grow.
const events_max = 50;

export function bytes_of(base64: string): Uint8Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function heat_of(json: HeatJson | undefined): Heat | null {
  if (!json || !json.ticks.length) return null;
  const scores = bytes_of(json.scores);
  if (scores.length !== json.models.length * json.ticks.length) return null;
  return { ticks: json.ticks, ids: json.models, scores };
}

export function fleet_of(json: FleetJson): Fleet {
  return {
    version: json.version,
    at: json.at,
    tick_seconds: json.tick_seconds,
    learning: json.learning,
    learning_days_left: json.learning_days_left,
    series: json.series,
    samples: json.samples,
    ledger: json.ledger,
    coverage: json.coverage,
    incidents: json.incidents.map(incident_here),
    recent: json.recent_incidents.map(incident_here),
    models: json.models.map((m) => model_here(m, json.at)),
    dependencies: json.dependencies,
    static_findings: json.static_findings,
    events: json.events,
    heat: heat_of(json.heat),
  };
}

// The strip with one more column, or with its newest column replaced when `at` is its tick already. As
// many columns stay as there were, once there are `columns_max`.
export function with_column(heat: Heat, at: number, column: Uint8Array, columns_max = 144): Heat {
  const rows = heat.ids.length;
  if (column.length !== rows) return heat;
  const old = heat.ticks.length;
  // A strip that was read just now can be ahead of a tick that was sent before.
  if (old && at < heat.ticks[old - 1]) return heat;
  const replace = old > 0 && heat.ticks[old - 1] === at;
  const keep = replace ? old - 1 : Math.min(old, columns_max - 1);
  const from = replace ? 0 : old - keep;
  const width = keep + 1;
  const scores = new Uint8Array(rows * width);
  for (let r = 0; r < rows; r++) {
    scores.set(heat.scores.subarray(r * old + from, r * old + from + keep), r * width);
    scores[r * width + keep] = column[r];
  }
  return { ticks: [...heat.ticks.slice(from, from + keep), at], ids: heat.ids, scores };
}

const by_id = (a: Model, b: Model) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

export function with_tick(fleet: Fleet, tick: TickJson): Fleet {
  const news_of_models = tick.models.map((m) => model_here(m, tick.at));
  let models = news_of_models;
  let same_models = false;
  if (!tick.full) {
    const changed = new Map(news_of_models.map((m) => [m.id, m]));
    const gone = new Set(tick.removed);
    models = [];
    for (const m of fleet.models) {
      if (gone.has(m.id)) continue;
      models.push(changed.get(m.id) ?? m);
      changed.delete(m.id);
    }
    same_models = !gone.size && !changed.size;
    if (changed.size) models = [...models, ...changed.values()].sort(by_id);
  }
  let heat = fleet.heat;
  if (tick.heat) heat = heat_of(tick.heat);
  else if (heat && same_models && tick.column && tick.column_at !== undefined) {
    heat = with_column(heat, tick.column_at, bytes_of(tick.column));
  }
  const known = new Set(fleet.events.map((e) => `${e.ts} ${e.kind} ${e.subject} ${e.title}`));
  const news = tick.events.filter((e) => !known.has(`${e.ts} ${e.kind} ${e.subject} ${e.title}`));
  const events = tick.full ? tick.events : [...news, ...fleet.events].sort((a, b) => b.ts - a.ts).slice(0, events_max);
  return {
    version: tick.version,
    at: tick.at,
    tick_seconds: tick.tick_seconds,
    learning: tick.learning,
    learning_days_left: tick.learning_days_left,
    series: tick.series,
    samples: tick.samples,
    ledger: tick.ledger,
    coverage: tick.coverage,
    incidents: tick.incidents.map(incident_here),
    recent: tick.recent_incidents.map(incident_here),
    models,
    dependencies: tick.dependencies ?? fleet.dependencies,
    static_findings: tick.static_findings,
    events,
    heat,
  };
}

// What a person did shows at once, before the server has said so; the next tick brings the server's word.
export function with_ack(fleet: Fleet, id: string, at: number | null, by: string): Fleet {
  const mark = (i: IncidentSummary) => (i.id === id ? { ...i, acked_at: at, acked_by: by } : i);
  return { ...fleet, incidents: fleet.incidents.map(mark) };
}
