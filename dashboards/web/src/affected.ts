import type { Affected, Model } from './types';

// Which of an incident's series are drawn, in which order, from when. Pure.

export type AffectedOrder = 'strength' | 'onset' | 'team';

// One line a model: its strongest series. `affected` comes strongest first.
export function strongest(affected: Affected[]): Affected[] {
  const seen = new Set<string>();
  return affected.filter((a) => !seen.has(a.model) && seen.add(a.model));
}

export function ordered(affected: Affected[], order: AffectedOrder, models: Map<string, Model>): Affected[] {
  if (order === 'strength') return affected;
  const team = (a: Affected) => models.get(a.model)?.team || models.get(a.model)?.family || '';
  return [...affected].sort((a, b) =>
    order === 'onset' ? a.since - b.since : team(a) < team(b) ? -1 : team(a) > team(b) ? 1 : Math.abs(b.sigma) - Math.abs(a.sigma));
}

// How many ticks may lie between two samples that belong together: a model that reports each sixth tick has no
// gap there. One and a half times the usual distance, as one sample may come a little late.
export function reach_of(values: (number | null)[]): number {
  const known = values.flatMap((v, k) => (v === null ? [] : [k]));
  const steps = known.slice(1).map((k, n) => k - known[n]).sort((a, b) => a - b);
  return steps.length ? Math.floor(1.5 * steps[Math.floor(steps.length / 2)]) : 1;
}

// A path that never bridges a gap.
export function gapped(xs: number[], ys: (number | null)[], x: (v: number) => number, y: (v: number) => number, reach = 1): string {
  let text = '';
  let last = -Infinity;
  for (let k = 0; k < xs.length; k++) {
    const v = ys[k];
    if (v === null) continue;
    text += `${k - last <= reach ? 'L' : 'M'}${x(xs[k]).toFixed(1)} ${y(v).toFixed(1)}`;
    last = k;
  }
  return text;
}

// The gaps, as the first and the last tick without a sample.
export function gaps_of(values: (number | null)[], reach: number): [number, number][] {
  const gaps: [number, number][] = [];
  let last = -1;
  for (let k = 0; k <= values.length; k++) {
    if (k < values.length && values[k] === null) continue;
    if (k - last > reach && k - last > 1) gaps.push([last + 1, k - 1]);
    last = k;
  }
  return gaps;
}

// How long before the end small multiples begin: enough of the calm before the first move to compare with.
export function multiple_from(affected: Affected[]): number {
  const drawn = affected.filter((a) => a.ts && a.ts.length > 1);
  if (!drawn.length) return 0;
  const end = Math.max(...drawn.map((a) => (a.ts as number[])[(a.ts as number[]).length - 1]));
  const first = Math.min(...drawn.map((a) => (a.ts as number[])[0]));
  const onset = Math.min(...affected.map((a) => a.since));
  return Math.max(first, onset - Math.max(2 * (end - onset), 3_600_000));
}
