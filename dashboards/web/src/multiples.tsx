import { gapped, gaps_of, reach_of } from './affected';
import { clock, count, moment, number, sigma, value } from './format';
import { use_width } from './shell';
import type { Affected } from './types';

// One series against its band, on an axis of its own; out of the band it is drawn in --anom and thicker.
export function Multiple({ of: a, from }: { of: Affected; from: number }) {
  const [box, width] = use_width<HTMLDivElement>();
  return (
    <div>
      <p class="n" title={a.model}>{a.model}</p>
      <div ref={box} style={{ height: 74 }}>{width > 0 && <Plot of={a} from={from} width={width} />}</div>
      <p class="d"><span title={a.metric}>{a.metric}</span><b>{sigma(a.sigma)} since {clock(a.since)}</b></p>
    </div>
  );
}

function Plot({ of: a, from, width: w }: { of: Affected; from: number; width: number }) {
  const h = 74;
  const all = a.ts ?? [];
  const first = Math.max(0, all.findIndex((t) => t >= from));
  const ts = all.slice(first);
  if (ts.length < 2) return <p class="note" style="padding-top:24px">no series kept</p>;
  const v = (a.value ?? []).slice(first);
  const low = (a.low ?? []).slice(first);
  const high = (a.high ?? []).slice(first);
  const known = v.filter((x): x is number => x !== null);
  const lo = Math.min(...known, ...low);
  const hi = Math.max(...known, ...high);
  const edge = w - 40;
  const t0 = ts[0], t1 = ts[ts.length - 1];
  const x = (t: number) => ((t - t0) / (t1 - t0)) * edge;
  const y = (s: number) => h - 16 - ((s - lo) / (hi - lo || 1)) * (h - 21);
  const on = ts.findIndex((t) => t >= a.since);
  const reach = reach_of(a.value ?? []);
  // The anomalous part starts at the first tick out, or at the last sample before when that tick has none.
  let split = on < 0 ? ts.length : on;
  while (on > 0 && split > 0 && v[split] === null) split--;
  const band = `M${ts.map((t, k) => `${x(t).toFixed(1)} ${y(high[k]).toFixed(1)}`).join('L')}L${ts.map((t, k) => `${x(t).toFixed(1)} ${y(low[k]).toFixed(1)}`).reverse().join('L')}Z`;
  let last_at = v.length - 1;
  while (last_at > 0 && v[last_at] === null) last_at--;
  const last = v[last_at];
  const usual = (low[low.length - 1] + high[high.length - 1]) / 2;
  const y_last = last === null ? 0 : Math.min(h - 18, Math.max(10, y(last) + 4));
  let y_usual = Math.min(h - 18, Math.max(10, y(usual) + 4));
  if (Math.abs(y_usual - y_last) < 12) y_usual = y_last > h / 2 ? y_last - 13 : y_last + 13;
  const gaps = gaps_of(v, reach);
  const text = `${a.metric} of ${a.model} left its band at ${clock(a.since)}: ${sigma(a.sigma)}, now ${last === null ? 'not known' : value(last)}, usually ${value(usual)}`;
  return (
    <svg width={w} height={h} role="img" aria-label={text}>
      <path d={band} fill="var(--band)" />
      <path d={gapped(ts.slice(0, split + 1), v.slice(0, split + 1), x, y, reach)} fill="none" stroke="var(--series)" stroke-width="1.2" stroke-linejoin="round" />
      {on >= 0 && (
        <>
          <path d={gapped(ts.slice(split), v.slice(split), x, y, reach)} fill="none" stroke="var(--anom)" stroke-width="1.8" stroke-linejoin="round" />
          <line x1={x(ts[on])} x2={x(ts[on])} y1="4" y2={h - 15} stroke="var(--anom)" stroke-dasharray="2 2" />
        </>
      )}
      {last !== null && (
        <>
          <circle cx={x(ts[last_at])} cy={y(last)} r="2.2" fill={on >= 0 ? 'var(--anom)' : 'var(--series)'} />
          <text class="in b" x={edge + 5} y={y_last}>{value(last)}</text>
        </>
      )}
      <text class="tk" x={edge + 5} y={y_usual}>{value(usual)}</text>
      <line x1="0" x2={edge} y1={h - 13} y2={h - 13} stroke="var(--line)" />
      {gaps.map(([p, q]) => <line key={p} x1={x(ts[Math.max(0, p - 1)])} x2={x(ts[Math.min(ts.length - 1, q + 1)])} y1={h - 13} y2={h - 13} stroke="var(--ink-2)" stroke-width="3" />)}
      <text class="tk" x="0" y={h - 2}>{clock(t0)}</text>
      <text class="tk" x={edge} y={h - 2} text-anchor="end">{clock(t1)}</text>
    </svg>
  );
}

// Affected models of which only the numbers are kept.
export function AffectedTable({ of, now }: { of: Affected[]; now: number }) {
  const shown = of.slice(0, 100);
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="Other affected models" style="margin-top:16px">
        <table aria-rowcount={of.length}>
          <thead><tr><th>Model</th><th>Metric</th><th class="num">Distance</th><th>Since</th></tr></thead>
          <tbody>{shown.map((a) => <tr key={a.model}><td><b>{a.model}</b></td><td>{a.metric}</td><td class="num">{sigma(a.sigma)}</td><td class="nb">{moment(a.since, now)}</td></tr>)}</tbody>
        </table>
      </div>
      {of.length > shown.length && <p class="note">{count(of.length - shown.length, 'more model')} ({number(of.length)} in all); /api/v1/incidents has them.</p>}
    </>
  );
}
