import type { Fleet } from './fleet_state';
import { clock, count, days, moment, number } from './format';
import { mark_kind, type Mark } from './sheet';
import type { Incident, IncidentSummary } from './types';

// Sentences: what a page finds, what a line says. Pure.

export interface Piece {
  text: string;
  kind: '' | 'cause' | 'number';
}

// "model:ranker" and "family:ctr" are called by their names in a sentence.
export const bare = (id: string) => id.replace(/^(model|family|dependency|region):/, '');

// A title in pieces: its cause, and "31 of its 72" or "31 of 72", stand out.
export function emphasised(title: string, cause: string): Piece[] {
  const name = bare(cause);
  const found: { at: number; end: number; kind: Piece['kind'] }[] = [];
  const at = name && name !== 'unknown' ? title.indexOf(name) : -1;
  if (at >= 0) found.push({ at, end: at + name.length, kind: 'cause' });
  for (const m of title.matchAll(/\d[\d\u202f ]*? of (?:its |their |the )?\d[\d\u202f]*/g)) {
    const from = m.index ?? 0;
    if (at < 0 || from >= at + name.length || from + m[0].length <= at) found.push({ at: from, end: from + m[0].length, kind: 'number' });
  }
  found.sort((a, b) => a.at - b.at);
  const pieces: Piece[] = [];
  let done = 0;
  for (const f of found) {
    if (f.at > done) pieces.push({ text: title.slice(done, f.at), kind: '' });
    pieces.push({ text: title.slice(f.at, f.end), kind: f.kind });
    done = f.end;
  }
  if (done < title.length) pieces.push({ text: title.slice(done), kind: '' });
  return pieces;
}

export type Tone = 'fail' | 'degr' | 'watch' | 'ok';
export function tone_of(i: IncidentSummary): Tone {
  if (i.state !== 'open') return 'ok';
  return i.paged || i.severity === 'critical' ? 'fail' : i.severity === 'warning' ? 'degr' : 'watch';
}

// The finding of the fleet page; its h1 and its title.
export function fleet_finding(fleet: Fleet): string {
  if (!fleet.models.length) return 'No samples yet';
  const bad = fleet.models.filter((m) => m.state === 'failing' || m.state === 'degraded').length;
  const open = fleet.incidents.length;
  const learning = fleet.learning ? `learning, ${days(fleet.learning_days_left)} to go` : '';
  if (open) return `${count(open, 'open incident')}; ${bad} of ${count(fleet.models.length, 'model')} ${bad === 1 ? 'is' : 'are'} degraded or failing`;
  if (learning) return `${count(fleet.models.length, 'model')}, ${learning}`;
  if (fleet.static_findings.length) return `No open incident; ${count(fleet.static_findings.length, 'limit, no-data or flat-line finding')}`;
  return 'Nothing is wrong that muster can see';
}

// The line below an incident's sentence, in parts; `hot` is what somebody must do.
export function incident_facts(i: IncidentSummary, now: number): { text: string; hot: boolean }[] {
  const parts: { text: string; hot: boolean }[] = [{ text: i.id, hot: false }];
  const say = (text: string, hot = false) => parts.push({ text, hot });
  say(i.paged ? `paged ${moment(i.opened_at, now)}` : `since ${moment(i.opened_at, now)}, not paged`);
  if (i.state === 'resolved') say(i.resolved_at === null ? 'resolved' : `resolved ${moment(i.resolved_at, now)}`);
  else if (i.state === 'merged') say(`merged into ${i.merged_into}`);
  else if (i.acked_at !== null) say(`acknowledged ${moment(i.acked_at, now)}${i.acked_by ? ` by ${i.acked_by}` : ''}`);
  else if (i.paged) say('nobody has acknowledged', true);
  if (i.team) say(`team ${i.team}`);
  return parts;
}

export interface Change {
  ts: number;
  kind: Mark['kind'];
  text: string;
  incident?: string;
}

// How far back the list of changes looks: an hour, and longer where ticks are: a fleet that is judged every ten minutes has six of them in an hour.
export const lately_ms = (fleet: Fleet) => Math.max(3_600_000, 36 * 1000 * fleet.tick_seconds);

// What changed lately: events, and incidents that opened, were acknowledged or resolved. Newest first.
export function changes(fleet: Fleet): Change[] {
  const from = fleet.at - lately_ms(fleet);
  const list: Change[] = [];
  for (const e of fleet.events) {
    if (e.ts < from) continue;
    const subject = e.subject === 'fleet' || e.title.includes(bare(e.subject)) ? '' : `${bare(e.subject)}: `;
    list.push({ ts: e.ts, kind: mark_kind(e), text: subject + e.title });
  }
  for (const i of [...fleet.incidents, ...fleet.recent]) {
    const page: Mark['kind'] = i.paged ? 'page' : 'data';
    const about = i.cause && i.cause !== 'unknown' ? `, ${bare(i.cause)}` : '';
    if (i.opened_at >= from) list.push({ ts: i.opened_at, kind: page, text: `${i.id} opened${about}`, incident: i.id });
    if (i.acked_at !== null && i.acked_at >= from) list.push({ ts: i.acked_at, kind: 'data', text: `${i.id} acknowledged`, incident: i.id });
    if (i.resolved_at !== null && i.resolved_at >= from) list.push({ ts: i.resolved_at, kind: 'data', text: `${i.id} resolved${about}`, incident: i.id });
  }
  // An event may be told twice, e.g. by a sender that was started again.
  const seen = new Set<string>();
  return list.filter((c) => !seen.has(`${c.ts} ${c.text}`) && seen.add(`${c.ts} ${c.text}`)).sort((a, b) => b.ts - a.ts);
}

export function status_words(i: IncidentSummary): string {
  if (i.state === 'resolved') return 'resolved';
  if (i.state === 'merged') return `merged into ${i.merged_into}`;
  return i.paged ? 'open, paged' : 'open, not paged';
}

export interface Standing {
  tone: 'fail' | 'calm';
  head: string;
  text: string;
}

// The box beside the finding: who has it, and what happens if nobody does.
export function standing(i: Incident, now: number): Standing {
  const told = i.deliveries.filter((d) => d.state === 'delivered' || d.state === 'sent');
  const receivers = [...new Set(told.map((d) => d.receiver))];
  const heard = receivers.length ? `Told: ${receivers.join(', ')}.` : 'Nobody has been told yet.';
  if (i.state === 'resolved') return { tone: 'calm', head: `Resolved ${i.resolved_at === null ? '' : moment(i.resolved_at, now)}`.trim(), text: heard };
  if (i.state === 'merged') return { tone: 'calm', head: `Part of ${i.merged_into}`, text: 'It goes on there.' };
  if (i.acked_at !== null) return { tone: 'calm', head: `Acknowledged ${moment(i.acked_at, now)}`, text: `${i.acked_by ? `By ${i.acked_by}. ` : ''}${heard}` };
  if (!i.paged) return { tone: 'calm', head: 'Not paged.', text: `It is shown here and wakes nobody. ${heard}` };
  return { tone: 'fail', head: 'Not acknowledged.', text: `Paged at ${clock(i.opened_at)}. ${heard}` };
}

export function percent(x: number): string {
  return `${number(100 * x)} %`;
}

// A probability in two digits as the table shows it; never 0 and never 1 when it is neither.
export function probability(p: number): string {
  if (p >= 1) return '1';
  if (p > 0.995) return '> .99';
  if (p > 0 && p < 0.005) return '< .01';
  return p.toFixed(2).slice(1);
}
