import { describe, expect, it } from 'vitest';

import { caption_of, cells_height, cell_size, count_states, groups_of, hour_ticks, marks_of, matches, order_of, place, pooled, shortened, strip_shape, type Mark } from '../src/sheet';
import type { Model } from '../src/types';

const model = (id: string, over: Partial<Model> = {}): Model => ({
  id, family: 'ranking', region: 'eu', team: 'search', version: 'v1', state: 'ok', worst_metric: '', worst_sigma: 0, score: 0, trend: 0, incident: null, learning_days_left: 0, last_seen: null, caption: '', ...over,
});

describe('the order of the sheet', () => {
  const models = [
    model('a'), model('b', { state: 'watch' }), model('c', { state: 'degraded', score: 40 }), model('d', { state: 'degraded', score: 70 }),
    model('e', { family: 'ctr', state: 'failing' }), model('f', { family: 'spell' }), model('g', { family: 'eta', state: 'watch' }),
  ];
  it('is worst first, among groups and inside them', () => {
    const groups = groups_of(models, 'family');
    expect(groups.map((g) => g.key)).toEqual(['ctr', 'ranking', 'eta', 'spell']);
    expect(groups[1].models.map((m) => m.id)).toEqual(['d', 'c', 'b', 'a']);
  });
  it('stays while the reader points at it, and what is new goes last', () => {
    const before = order_of(groups_of(models, 'family'), 'family');
    const later = models.map((m) => (m.id === 'a' ? { ...m, state: 'failing' as const, score: 99 } : m)).concat(model('z', { state: 'failing' }), model('y', { family: 'new', state: 'failing' }));
    const groups = groups_of(later, 'family', before);
    expect(groups.map((g) => g.key)).toEqual(['ctr', 'ranking', 'eta', 'spell', 'new']);
    expect(groups[1].models.map((m) => m.id)).toEqual(['d', 'c', 'b', 'a', 'z']);
    expect(groups_of(later, 'family')[0].key).toBe('ranking');
  });
  it('of another grouping does not count', () => {
    const before = order_of(groups_of(models, 'family'), 'family');
    expect(groups_of(models, 'team', before).map((g) => g.key)).toEqual(['search']);
  });
});

describe('the filter', () => {
  const m = model('ranking-eu-web', { state: 'failing', incident: 'INC-0412', caption: 'null_rate +4.1 sigma' });
  it('wants every word, anywhere', () => {
    expect(matches(m, { words: 'team:search EU', states: [] })).toBe(true);
    expect(matches(m, { words: 'inc-0412 null', states: [] })).toBe(true);
    expect(matches(m, { words: 'team:search us', states: [] })).toBe(false);
  });
  it('wants one of the states', () => {
    expect(matches(m, { words: '', states: ['watch', 'failing'] })).toBe(true);
    expect(matches(m, { words: '', states: ['ok'] })).toBe(false);
  });
  it('counts what there is', () => {
    const n = count_states([m, model('a'), model('b')]);
    expect([n.failing, n.ok, n.silent]).toEqual([1, 2, 0]);
  });
});

describe('a caption', () => {
  it('says what an incident explains with its id, once', () => {
    const hit = { state: 'failing' as const, incident: 'INC-0412' };
    const parts = caption_of([model('a', hit), model('b', { ...hit, state: 'degraded' }), model('c', { state: 'watch', caption: 'psi 0.16 since 02:00' }), model('d', { state: 'silent' })]);
    expect(parts.map((p) => p.text)).toEqual(['2 shifted, INC-0412', '1 watch', '1 silent']);
    expect(parts[0].tone).toBe('fail');
  });
  it('says the worst monitor when nothing explains it', () => {
    const [first] = caption_of([model('c', { state: 'watch', caption: 'psi_drift 0.16 since 02:00' })]);
    expect([first.text, first.detail]).toEqual(['1 watch', 'psi_drift 0.16']);
  });
  it('is calm when all is well, even where an incident was', () => {
    expect(caption_of([model('a'), model('b', { incident: 'INC-0001' })])[0].text).toBe('all inside their bands');
  });
});

describe('cells', () => {
  it('shrink above 600 models', () => {
    expect(cell_size(600).size).toBe(24);
    expect(cell_size(601).size).toBe(11);
  });
  it('fill lines', () => {
    // By hand: 100 px hold 3 cells of 24 with gaps of 3 (78 px; a fourth needs 105), so 7 need 3 lines: 3 * 27 - 3.
    expect(cells_height(7, 100, 24, 3)).toBe(78);
    expect(cells_height(1, 0, 24, 3)).toBe(24);
  });
});

describe('a strip', () => {
  it('of a large fleet stays below 62 px and says how many share a line', () => {
    expect(strip_shape(20, false, false)).toEqual({ pool: 1, lines: 20, line_px: 3 });
    for (const n of [1, 40, 62, 63, 200, 5000]) {
      const { pool, lines, line_px } = strip_shape(n, true, false);
      expect(lines * line_px).toBeLessThanOrEqual(62);
      expect(pool * lines).toBeGreaterThanOrEqual(n);
    }
  });
  it('draws the worst of the pooled, and a gap only where none has data', () => {
    const heat = { ticks: [1, 2], ids: ['a', 'b', 'c'], scores: new Uint8Array([5, 255, 9, 255, 1, 2]) };
    const index = new Map(heat.ids.map((id, i) => [id, i]));
    expect([...pooled(heat, index, [model('a'), model('b'), model('c')], 2)]).toEqual([9, 255, 1, 2]);
    expect([...pooled(heat, index, [model('c'), model('new')], 1)]).toEqual([1, 2, 255, 255]);
  });
});

describe('marks on the axis', () => {
  const mark = (ts: number, kind: Mark['kind'] = 'deploy'): Mark => ({ ts, kind, label: `event ${ts}` });
  const put = (marks: Mark[], width = 300) => place(marks, (ts) => ts, width, (m) => m.label, () => 60);
  it('use two levels, then drop the label of the earlier', () => {
    expect(put([mark(20), mark(120), mark(220)]).map((p) => [p.text, p.level])).toEqual([['event 20', 0], ['event 120', 0], ['event 220', 0]]);
    expect(put([mark(100), mark(120), mark(140)]).every((p) => p.text)).toBe(true);
    expect(put([mark(100), mark(104), mark(108)]).map((p) => p.text)).toEqual(['', '', 'event 108']);
  });
  it('let a page have its label before all', () => {
    const placed = put([mark(100, 'page'), mark(101), mark(102), mark(103), mark(104)]);
    expect(placed[0].text).toBe('event 100');
  });
  it('never let labels overlap, nor leave the plot', () => {
    const placed = put(Array.from({ length: 40 }, (_, i) => mark(i * 7)));
    const spans = placed.filter((p) => p.text).map((p) => ({ level: p.level, from: p.end ? p.x - 70 : p.x - 6, to: p.end ? p.x + 6 : p.x + 70 }));
    for (const s of spans) {
      expect(s.from).toBeGreaterThanOrEqual(0);
      expect(s.to).toBeLessThanOrEqual(308);
      expect(spans.filter((o) => o !== s && o.level === s.level && o.from < s.to && o.to > s.from)).toEqual([]);
    }
  });
  it('come from events and pages since the strip begins', () => {
    const marks = marks_of([{ ts: 5, kind: 'retrain', subject: 'model:a', title: 'v2' }, { ts: 1, kind: 'deploy', subject: 'fleet', title: 'old' }], [], 3);
    expect(marks).toEqual([{ ts: 5, kind: 'retrain', label: 'v2' }]);
  });
  it('are cut with a sign that something is missing', () => {
    expect(shortened('02:05 v19 loaded, retrained', 12)).toBe('02:05 v19 lo'.slice(0, 11) + '\u2026');
    expect(shortened('short', 12)).toBe('short');
  });
});

describe('hours at the axis', () => {
  it('are round and not too many', () => {
    const to = new Date(2026, 2, 9, 2, 12).getTime();
    const ticks = hour_ticks(to - 24 * 3_600_000, to, 600);
    expect(ticks.length).toBeGreaterThanOrEqual(4);
    expect(ticks.length).toBeLessThanOrEqual(8);
    for (const t of ticks) expect(new Date(t).getHours() % 4).toBe(0);
    expect(hour_ticks(to - 2.7 * 3_600_000, to, 600).length).toBeLessThanOrEqual(8);
  });
});
