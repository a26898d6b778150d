import type { DemoJson, FleetJson, Incident, IncidentPage } from './types';
import { incident_here } from './zone';

// What did not work, in words for the reader.
export class Failure extends Error {
  constructor(readonly status: number, readonly what: string, readonly path: string) {
    super(what);
  }
}

// A page waits no longer than this for one answer; then it says so and tries again by itself.
const wait_ms = 8000;

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, signal: AbortSignal.timeout(wait_ms) });
  } catch (fault) {
    const late = fault instanceof DOMException && fault.name === 'TimeoutError';
    throw new Failure(0, late ? `No answer within ${wait_ms / 1000} s.` : 'muster cannot be reached.', path);
  }
  if (answer.ok) return answer;
  let what = `It answered ${answer.status}.`;
  try {
    const { error } = await answer.json();
    if (error?.what) what = `${error.where ? `${error.where}: ` : ''}${error.what}${error.fix ? ` ${error.fix}` : ''}`;
  } catch {
    // The answer is not muster's own; its status is all there is to say.
  }
  throw new Failure(answer.status, what, path);
}

const get = async <T>(path: string): Promise<T> => (await ask(path)).json();
const post = (path: string, body: unknown): Promise<Response> =>
  ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

export const read_fleet = (parts: string) => get<FleetJson>(`/api/v1/fleet?parts=${parts}`);
export const read_incident = async (id: string) => incident_here(await get<Incident>(`/api/v1/incidents/${encodeURIComponent(id)}`));

export async function read_incidents(state: string, after: string | null, limit = 50): Promise<IncidentPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (state) query.set('state', state);
  if (after) query.set('after', after);
  const page = await get<IncidentPage>(`/api/v1/incidents?${query}`);
  return { ...page, incidents: page.incidents.map(incident_here) };
}

export type Act = 'ack' | 'unack' | 'resolve' | 'note';
export const act = (id: string, what: Act, by: string, note = '') =>
  post(`/api/v1/incidents/${encodeURIComponent(id)}/${what}`, { by, note });

// Nothing where there is no demo.
export async function read_demo(): Promise<DemoJson | null> {
  try {
    return await get<DemoJson>('/api/v1/demo');
  } catch {
    return null;
  }
}
export const break_something = (kind: string) => post('/api/v1/demo/faults', { kind });
