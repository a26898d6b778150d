import { useEffect, useState } from 'preact/hooks';

import { Failure, read_fleet } from './api';
import { fleet_of, heat_of, with_ack, with_tick, type Fleet } from './fleet_state';
import type { IncidentNews, TickJson } from './types';

// One fleet and one event stream a tab. Ticks that arrive between two frames are joined; a hidden tab hears
// nothing and reads the fleet anew when it is looked at again.

export interface Live {
  fleet: Fleet | null;
  failure: Failure | null;      // the fleet could not be read
  retry_at: number;             // wall clock of the next try, 0 when none waits
  lost_at: number | null;       // wall clock since when the stream is silent
  received_at: number;          // wall clock of the last tick
}

let live: Live = { fleet: null, failure: null, retry_at: 0, lost_at: null, received_at: 0 };
const readers = new Set<() => void>();
const listeners = new Set<(news: IncidentNews) => void>();
let source: EventSource | null = null;
let waiting: TickJson[] = [];
let frame = 0;
let retry = 0;
let watchdog = 0;
// The stream sends a tick or a heartbeat at least each 15 s; after three of them without a word it is lost.
const silence_max_ms = 45_000;
const retry_ms = 8000;

const set = (change: Partial<Live>) => {
  live = { ...live, ...change };
  for (const r of readers) r();
};

function heard() {
  clearTimeout(watchdog);
  watchdog = window.setTimeout(() => {
    set({ lost_at: live.lost_at ?? Date.now() });
    open_stream();
  }, silence_max_ms);
}

function flush() {
  frame = 0;
  if (!live.fleet || !waiting.length) return;
  let fleet = live.fleet;
  for (const tick of waiting) fleet = with_tick(fleet, tick);
  waiting = [];
  set({ fleet, received_at: Date.now(), lost_at: null });
}

function open_stream() {
  source?.close();
  if (!live.fleet) return;
  const stream = new EventSource(`/api/v1/stream?since=${encodeURIComponent(live.fleet.version)}`);
  source = stream;
  heard();
  stream.addEventListener('open', () => {
    heard();
    set({ lost_at: null });
  });
  stream.addEventListener('tick', (e) => {
    heard();
    waiting.push(JSON.parse((e as MessageEvent<string>).data));
    frame ||= requestAnimationFrame(flush);
  });
  stream.addEventListener('incident', (e) => {
    heard();
    const news: IncidentNews = JSON.parse((e as MessageEvent<string>).data);
    for (const tell of listeners) tell(news);
  });
  stream.addEventListener('beat', heard);
  stream.addEventListener('error', () => {
    if (source !== stream) return;
    set({ lost_at: live.lost_at ?? Date.now() });
    // A refusal (503: too many streams) closes it for good; then we come back ourselves.
    if (stream.readyState === EventSource.CLOSED) schedule(open_stream);
  });
}

function schedule(again: () => void) {
  clearTimeout(retry);
  set({ retry_at: Date.now() + retry_ms });
  retry = window.setTimeout(() => {
    set({ retry_at: 0 });
    again();
  }, retry_ms);
}

export async function refresh() {
  clearTimeout(retry);
  try {
    // The first meaningful paint needs one answer; the strip follows.
    const core = fleet_of(await read_fleet('core'));
    set({ fleet: { ...core, heat: keep_heat(core) }, failure: null, retry_at: 0, received_at: Date.now() });
    open_stream();
    const heat = heat_of((await read_fleet('heat')).heat);
    if (heat && live.fleet && same_models(heat.ids, live.fleet)) set({ fleet: { ...live.fleet, heat } });
  } catch (fault) {
    const failure = fault instanceof Failure ? fault : new Failure(0, String(fault), '/api/v1/fleet');
    set({ failure });
    schedule(refresh);
  }
}

// An older strip of the same models is better than an empty one until the new one is here.
function keep_heat(core: Fleet) {
  const old = live.fleet?.heat;
  return old && same_models(old.ids, core) ? old : null;
}

const same_models = (ids: string[], fleet: Fleet) => ids.length === fleet.models.length && ids.every((id, i) => id === fleet.models[i].id);

export function show_ack(id: string, at: number | null, by: string) {
  if (live.fleet) set({ fleet: with_ack(live.fleet, id, at, by) });
}

export function on_incident(tell: (news: IncidentNews) => void): () => void {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

export function start() {
  void refresh();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      source?.close();
      source = null;
      clearTimeout(watchdog);
    } else if (!source) {
      void refresh();
    }
  });
}

export function use_live(): Live {
  const [, again] = useState(0);
  useEffect(() => {
    const redraw = () => again((n) => n + 1);
    readers.add(redraw);
    return () => void readers.delete(redraw);
  }, []);
  return live;
}

export const current = () => live;
