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

// A path that never bridges a gap.
export function gapped(xs: number[], ys: (number | null)[], x: (v: number) => number, y: (v: number) => number): string {
  let text = '';
  let down = false;
  for (let k = 0; k < xs.length; k++) {
    const v = ys[k];
    if (v === null) {
      down = false;
      continue;
    }
    text += `${down ? 'L' : 'M'}${x(xs[k]).toFixed(1)} ${y(v).toFixed(1)}`;
    down = true;
  }
  return text;
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
