import { describe, expect, it } from 'vitest';

import { ago, clock, count, count_ticks, days, duration, is_other_time, log10, moment, number, odds, odds_tick, odds_ticks, power_of_ten, sigma, value } from '../src/format';

const thin = '\u202f';
const minus = '\u2212';

describe('numbers', () => {
  it('stand in groups of three from five digits on', () => {
    expect(number(1312)).toBe('1312');
    expect(number(41000)).toBe(`41${thin}000`);
    expect(number(1234567.891, 1)).toBe(`1${thin}234${thin}567.9`);
  });
  it('have a true minus sign, and no minus zero', () => {
    expect(number(-3.25, 1)).toBe(`${minus}3.3`);
    expect(number(-0.04, 1)).toBe('0.0');
  });
  it('are not known rather than NaN', () => {
    expect(number(NaN)).toBe('not known');
    expect(value(Infinity)).toBe('not known');
  });
  it('keep three significant digits when their scale is not known', () => {
    expect(value(0)).toBe('0');
    expect(value(0.31264)).toBe('0.313');
    expect(value(4.2)).toBe('4.20');
    expect(value(182.4)).toBe('182');
    expect(value(12345)).toBe(`12${thin}345`);
    expect(value(0.00042)).toBe(`4.2e${minus}4`);
    expect(value(12_300_000)).toBe('12.3 M');
  });
  it('count one and many', () => {
    expect(count(1, 'model')).toBe('1 model');
    expect(count(0, 'model')).toBe('0 models');
    expect(count(2, 'family', 'families')).toBe('2 families');
  });
  it('show the sign of a distance', () => {
    expect(sigma(4.13)).toBe('+4.1 \u03c3');
    expect(sigma(-9.6)).toBe(`${minus}9.6 \u03c3`);
  });
});

describe('odds', () => {
  it('have two digits', () => {
    expect(odds(41234)).toBe(`41${thin}000 : 1`);
    expect(odds(18000)).toBe(`18${thin}000 : 1`);
    expect(odds(6.42)).toBe('6.4 : 1');
    expect(odds(0.2)).toBe('1 : 1');
    expect(odds(4_130_000)).toBe('4.1 million : 1');
    expect(odds(2.4e12)).toBe('10\u00b9\u00b2 : 1');
  });
  it('do not break at the edge', () => {
    expect(odds(Infinity)).toBe('10\u00b3\u2070\u2070 : 1');
    expect(odds(NaN)).toBe('not known');
    expect(log10(0)).toBe(0);
  });
  it('have ticks that reach beyond the top, five at most', () => {
    expect(odds_ticks(4.6)).toEqual([0, 2, 4, 6]);
    expect(odds_ticks(0.2)).toEqual([0, 1]);
    expect(odds_ticks(300)).toEqual([0, 100, 200, 300]);
    for (let top = 0; top < 300; top += 0.37) {
      const ticks = odds_ticks(top);
      expect(ticks.length).toBeLessThanOrEqual(5);
      expect(ticks[ticks.length - 1]).toBeGreaterThanOrEqual(top);
    }
  });
  it('have axis words', () => {
    expect([0, 2, 4, 6, 12].map(odds_tick)).toEqual(['1:1', '100:1', '10k:1', '1M:1', '10\u00b9\u00b2:1']);
    expect(power_of_ten(10)).toBe('10\u00b9\u2070');
  });
});

describe('ticks of counts', () => {
  it('start at 0, are round, and reach the top', () => {
    expect(count_ticks(31)).toEqual([0, 20, 40]);
    expect(count_ticks(1)).toEqual([0, 1]);
    for (let top = 1; top < 3000; top += 7) {
      const ticks = count_ticks(top);
      expect(ticks[0]).toBe(0);
      expect(ticks[ticks.length - 1]).toBeGreaterThanOrEqual(top);
      expect(ticks.length).toBeLessThanOrEqual(5);
    }
  });
});

describe('times', () => {
  const at = new Date(2026, 10, 23, 3, 12).getTime();
  const min = 60_000;
  it('say lengths as people do', () => {
    expect(duration(4000)).toBe('4 s');
    expect(duration(92 * min)).toBe('92 min');
    expect(duration(190 * min)).toBe('3 h 10 min');
    expect(duration(31 * 60 * min)).toBe('31 h');
    expect(duration(5 * 1440 * min)).toBe('5 days');
    expect(duration(-5)).toBe('0 s');
  });
  it('say the day only when it is another', () => {
    expect(clock(at)).toBe('03:12');
    expect(moment(at - 30 * min, at)).toBe('02:42');
    expect(moment(at - 240 * min, at)).toBe('23:12 yesterday');
    expect(moment(new Date(2026, 10, 20, 3, 12).getTime(), at)).toBe('03:12, 20 Nov');
    expect(moment(new Date(2025, 9, 19, 3, 12).getTime(), at)).toBe('03:12, 19 Oct 2025');
  });
  it('say how long ago', () => {
    expect(ago(at - 22 * min, at)).toBe('22 min ago');
    expect(ago(at, at)).toBe('just now');
  });
  it('say days to go, and hours when there are few', () => {
    expect(days(6.4)).toBe('7 days');
    expect(days(14)).toBe('14 days');
    expect(days(1.5)).toBe('36 hours');
    expect(days(0.05)).toBe('1 hour');
    expect(days(0)).toBe('less than an hour');
  });
  it('know whose time it is', () => {
    expect(is_other_time(at, at + 59 * min)).toBe(false);
    expect(is_other_time(at, at + 61 * min)).toBe(true);
    expect(is_other_time(0, at)).toBe(false);
  });
});
