import { describe, expect, it } from 'vitest';

import { clock } from '../src/format';
import { in_readers_zone, incident_here, model_here } from '../src/zone';

describe('times in sentences', () => {
  const near = Date.UTC(2026, 2, 9, 2, 12);
  it('are turned from UTC into the zone of the reader', () => {
    expect(in_readers_zone('src-1: 3 of its 4 models have shifted since 01:31', near)).toBe(`src-1: 3 of its 4 models have shifted since ${clock(Date.UTC(2026, 2, 9, 1, 31))}`);
    // 22:40 has not come yet today, so it is yesterday's: where a zone changed its clocks in between, that tells.
    expect(in_readers_zone('silent since 22:40', near)).toBe(`silent since ${clock(Date.UTC(2026, 2, 8, 22, 40))}`);
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
