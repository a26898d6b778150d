import { describe, expect, it } from 'vitest';

import { fleet_of } from '../src/fleet_state';
import { gapped, gaps_of, multiple_from, ordered, reach_of, strongest } from '../src/affected';
import type { Affected, FleetJson, Incident } from '../src/types';
import { bare, changes, emphasised, fleet_finding, incident_facts, probability, standing, status_words, tone_of } from '../src/words';
import { Fleet as Invented } from '../../../tests/web/fixture.mjs';

type Made = { json: () => FleetJson; detail: (id: string) => Incident; at: number };
const made = (over = {}) => new Invented({ size: 60, ...over }) as Made;

describe('a title', () => {
  it('has its cause and its counts stand out, and loses no letter', () => {
    const title = 'src-clickstream has moved 31 of its 72 models since 02:31.';
    const pieces = emphasised(title, 'src-clickstream');
    expect(pieces.map((p) => p.text).join('')).toBe(title);
    expect(pieces.filter((p) => p.kind).map((p) => [p.kind, p.text])).toEqual([['cause', 'src-clickstream'], ['number', '31 of its 72']]);
  });
  it('knows a model and a family by name', () => {
    expect(emphasised('ctr moved', 'family:ctr')[0]).toEqual({ text: 'ctr', kind: 'cause' });
    expect(bare('model:a/b')).toBe('a/b');
  });
  it('without its cause in it stays as it is', () => {
    expect(emphasised('Something moved 3 of 4 models', 'unknown').map((p) => p.kind)).toEqual(['', 'number', '']);
    expect(emphasised('', 'x')).toEqual([]);
  });
});

describe('the finding of the fleet', () => {
  it('counts incidents and models', () => {
    const fleet = fleet_of(made().json());
    const bad = fleet.models.filter((m) => m.state === 'failing' || m.state === 'degraded').length;
    expect(fleet_finding(fleet)).toBe(`3 open incidents; ${bad} of 60 models are degraded or failing`);
  });
  it('says that all is well, that it learns, or that nothing came', () => {
    expect(fleet_finding(fleet_of(made({ quiet: true }).json()))).toBe('Nothing is wrong that muster can see');
    expect(fleet_finding(fleet_of(made({ learning: true }).json()))).toBe('60 models, learning, 7 days to go');
    expect(fleet_finding({ ...fleet_of(made().json()), models: [] })).toBe('No samples yet');
  });
});

describe('the line of an incident', () => {
  const i = made().detail('INC-0412');
  const now = i.updated_at;
  it('says what nobody did, hot', () => {
    const facts = incident_facts(i, now);
    expect(facts.filter((f) => f.hot).map((f) => f.text)).toEqual(['nobody has acknowledged']);
    expect(facts[0].text).toBe('INC-0412');
  });
  it('says who has it', () => {
    const facts = incident_facts({ ...i, acked_at: now, acked_by: 'feeds' }, now);
    expect(facts.some((f) => f.hot)).toBe(false);
    expect(facts.map((f) => f.text).join()).toContain('by feeds');
  });
  it('has a tone and a word for each state', () => {
    expect([tone_of(i), tone_of({ ...i, paged: false, severity: 'warning' }), tone_of({ ...i, paged: false, severity: 'info' }), tone_of({ ...i, state: 'resolved' })]).toEqual(['fail', 'degr', 'watch', 'ok']);
    expect(status_words({ ...i, state: 'merged', merged_into: 'INC-1' })).toBe('merged into INC-1');
  });
  it('stands where its state puts it', () => {
    expect(standing(i, now).head).toBe('Not acknowledged.');
    expect(standing(i, now).text).toContain('feeds-oncall');
    expect(standing(i, now).text).not.toContain('platform-oncall');  // that delivery failed
    expect(standing({ ...i, acked_at: now }, now).head).toContain('Acknowledged');
    expect(standing({ ...i, state: 'resolved', resolved_at: now }, now).tone).toBe('calm');
    expect(standing({ ...i, paged: false, deliveries: [] }, now).text).toContain('Nobody has been told');
  });
});

describe('changes', () => {
  it('are those of the last hour, newest first', () => {
    const fleet = fleet_of(made().json());
    const list = changes(fleet);
    expect(list.every((c) => c.ts >= fleet.at - 3_600_000)).toBe(true);
    expect(list.map((c) => c.ts)).toEqual(list.map((c) => c.ts).sort((a, b) => b - a));
    expect(list.map((c) => c.text)).toContain('INC-0412 opened, src-clickstream');
    expect(list.map((c) => c.text)).toContain('INC-0410 resolved, src-fx');
    expect(changes({ ...fleet, events: [...fleet.events, ...fleet.events] })).toEqual(list);
  });
});

describe('a probability', () => {
  it('is never 0 and never 1 when it is neither', () => {
    expect([0.944, 0.004, 0.9999, 1, 0].map(probability)).toEqual(['.94', '< .01', '> .99', '1', '.00']);
  });
});

describe('affected models', () => {
  const a = (model: string, sigma: number, since: number, ts?: number[]): Affected => ({ model, metric: 'm', sigma, since, ts });
  it('are one a model, its strongest', () => {
    expect(strongest([a('x', 9, 1), a('y', 8, 0), a('x', 3, 0)]).map((s) => s.sigma)).toEqual([9, 8]);
  });
  it('come by strength or by onset', () => {
    const list = [a('x', 9, 5), a('y', 8, 2)];
    expect(ordered(list, 'strength', new Map()).map((s) => s.model)).toEqual(['x', 'y']);
    expect(ordered(list, 'onset', new Map()).map((s) => s.model)).toEqual(['y', 'x']);
  });
  it('are drawn with as much calm before as there is', () => {
    const hour = 3_600_000;
    expect(multiple_from([a('x', 9, 20 * hour, [0, 24 * hour])])).toBe(12 * hour);
    expect(multiple_from([a('x', 9, hour, [0, 24 * hour])])).toBe(0);
    expect(multiple_from([a('x', 9, hour)])).toBe(0);
  });
  it('have lines that never bridge a gap', () => {
    expect(gapped([0, 1, 2, 3], [1, null, 2, 3], (x) => x, (y) => y)).toBe('M0.0 1.0M2.0 2.0L3.0 3.0');
  });
  it('that report each third tick have lines and no gaps, until they miss a report', () => {
    const n = null;
    const v = [1, n, n, 2, n, n, 3, n, n, n, n, n, 4, n, n, 5];
    const reach = reach_of(v);
    expect(reach).toBe(4);  // by hand: the distances are 3 3 6 3, their median 3
    expect(gapped(v.map((_, k) => k), v, (x) => x, (y) => y, reach)).toBe('M0.0 1.0L3.0 2.0L6.0 3.0M12.0 4.0L15.0 5.0');
    expect(gaps_of(v, reach)).toEqual([[7, 11]]);
    expect(gaps_of([1, n, 2, 3, n], 1)).toEqual([[1, 1], [4, 4]]);
    expect(reach_of([n, n])).toBe(1);
  });
});
