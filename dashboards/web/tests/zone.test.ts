import { describe, expect, it } from 'vitest';

import { clock } from '../src/format';
import { in_readers_zone, incident_here, model_here } from '../src/zone';

// A zone with summer time, so that a wrong day shows: Paris went from UTC+1 to UTC+2 on 29 March 2026, 01:00 UTC.
(globalThis as unknown as { process: { env: Record<string, string> } }).process.env.TZ = 'Europe/Paris';

describe('times in sentences', () => {
  const near = Date.UTC(2026, 2, 9, 2, 12);
  it('are turned from UTC into the zone of the reader', () => {
    expect(in_readers_zone('src-1: 3 of its 4 models have shifted since 01:31', near)).toBe(`src-1: 3 of its 4 models have shifted since ${clock(Date.UTC(2026, 2, 9, 1, 31))}`);
    // 22:40 UTC has not come yet on the day of the change, so it is the day before's, when Paris was at UTC+1.
    expect(in_readers_zone('silent since 22:40', Date.UTC(2026, 2, 29, 2, 0))).toBe('silent since 23:40');
    expect(in_readers_zone('silent since 01:10', Date.UTC(2026, 2, 29, 2, 0))).toBe('silent since 03:10');
  });
  it('other numbers stay', () => {
    expect(in_readers_zone('ratio 12:34, since v8', near)).toBe('ratio 12:34, since v8');
  });
  it('are turned in captions, titles and explanations', () => {
    const shown = clock(Date.UTC(2026, 2, 9, 1, 31));
    expect(model_here({ caption: 'psi +4 sigma since 01:31' }, near).caption).toContain(`since ${shown}`);
    const i = incident_here({ title: 'x since 01:31', why: 'y since 01:31', first_look: 'z', updated_at: near });
    expect([i.title, i.why, i.first_look]).toEqual([`x since ${shown}`, `y since ${shown}`, 'z']);
  });
});
