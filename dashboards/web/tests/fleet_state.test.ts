import { describe, expect, it } from 'vitest';

import { bytes_of, fleet_of, heat_of, with_ack, with_column, with_tick, type Fleet } from '../src/fleet_state';
import { Fleet as Invented } from '../../../tests/web/fixture.mjs';
import type { FleetJson, TickJson } from '../src/types';

const made = () => new Invented({ size: 60 }) as { json: (parts?: string) => FleetJson; tick: () => TickJson };
const copy = <T,>(x: T): T => JSON.parse(JSON.stringify(x));

describe('a tick', () => {
  it('brings the fleet where a fresh reading would', () => {
    const fleet = made();
    let held: Fleet = fleet_of(copy(fleet.json()));
    for (let n = 0; n < 5; n++) held = with_tick(held, copy(fleet.tick()));
    const fresh = fleet_of(copy(fleet.json()));
    expect(held.models).toEqual(fresh.models);
    expect(held.heat?.ticks).toEqual(fresh.heat?.ticks);
    expect([...(held.heat?.scores ?? [])]).toEqual([...(fresh.heat?.scores ?? [])]);
    expect(held.at).toBe(fresh.at);
  });
  it('leaves what did not change the same object, so that it is not drawn again', () => {
    const fleet = made();
    const before = fleet_of(copy(fleet.json()));
    const tick = copy(fleet.tick());
    const after = with_tick(before, tick);
    const changed = new Set(tick.models.map((m) => m.id));
    expect(changed.size).toBeGreaterThan(0);
    for (const [i, m] of after.models.entries()) expect(m === before.models[i]).toBe(!changed.has(m.id));
  });
  it('removes and adds models, in the order of ids', () => {
    const fleet = made();
    const before = fleet_of(copy(fleet.json()));
    const first = before.models[0];
    const tick: TickJson = { ...copy(fleet.tick()), models: [{ ...first, id: 'aaa' }, { ...first, id: 'zzz' }], removed: [first.id], column: undefined };
    const after = with_tick(before, tick);
    expect(after.models.length).toBe(before.models.length + 1);
    expect(after.models[0].id).toBe('aaa');
    expect(after.models[after.models.length - 1].id).toBe('zzz');
    expect(after.models.some((m) => m.id === first.id)).toBe(false);
  });
  it('adds new events once, and keeps fifty', () => {
    const fleet = made();
    let held = fleet_of(copy(fleet.json()));
    const n = held.events.length;
    const event = { ts: held.at + 1, kind: 'deploy', subject: 'fleet', title: 'v9' };
    for (let k = 0; k < 2; k++) held = with_tick(held, { ...copy(fleet.tick()), events: [event] });
    expect(held.events.length).toBe(n + 1);
    expect(held.events[0].title).toBe('v9');
    const many = Array.from({ length: 80 }, (_, k) => ({ ...event, title: `v${k}` }));
    expect(with_tick(held, { ...copy(fleet.tick()), events: many }).events.length).toBe(50);
  });
  it('with everything replaces everything', () => {
    const fleet = made();
    const held = { ...fleet_of(copy(fleet.json())), models: [], heat: null, events: [] };
    const all = copy(fleet.json());
    const after = with_tick(held, { ...all, full: true, removed: [] });
    expect(after.models.length).toBe(all.models.length);
    expect(after.heat?.ids.length).toBe(all.models.length);
  });
});

describe('the strip', () => {
  const heat = { ticks: [10, 20, 30], ids: ['a', 'b'], scores: new Uint8Array([1, 2, 3, 4, 5, 6]) };
  it('shifts by one column when it is full', () => {
    const next = with_column(heat, 40, new Uint8Array([7, 8]), 3);
    expect(next.ticks).toEqual([20, 30, 40]);
    expect([...next.scores]).toEqual([2, 3, 7, 5, 6, 8]);
  });
  it('grows until it is full', () => {
    expect([...with_column(heat, 40, new Uint8Array([7, 8]), 9).scores]).toEqual([1, 2, 3, 7, 4, 5, 6, 8]);
  });
  it('replaces the column of the same tick, and takes none from the past or of another fleet', () => {
    expect([...with_column(heat, 30, new Uint8Array([7, 8])).scores]).toEqual([1, 2, 7, 4, 5, 8]);
    expect(with_column(heat, 20, new Uint8Array([7, 8]))).toBe(heat);
    expect(with_column(heat, 40, new Uint8Array([7]))).toBe(heat);
  });
  it('is refused when its size does not fit its models', () => {
    expect(heat_of({ ticks: [1, 2], models: ['a'], scores: btoa('abc') })).toBeNull();
    expect(heat_of({ ticks: [], models: [], scores: '' })).toBeNull();
    expect([...bytes_of('AAECCgsMFBUW')]).toEqual([0, 1, 2, 10, 11, 12, 20, 21, 22]);
  });
});

describe('an acknowledgement', () => {
  it('shows at once and can be taken back', () => {
    const held = fleet_of(made().json());
    const acked = with_ack(held, 'INC-0412', 5, 'feeds');
    expect(acked.incidents.find((i) => i.id === 'INC-0412')?.acked_by).toBe('feeds');
    expect(with_ack(acked, 'INC-0412', null, '').incidents.find((i) => i.id === 'INC-0412')?.acked_at).toBeNull();
  });
});
