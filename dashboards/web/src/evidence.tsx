import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';

import { css, token } from './colour';
import { clock, count, count_ticks, log10, moment, number, odds, odds_tick, odds_ticks } from './format';
import { EventMark } from './glyph';
import { use_width } from './shell';
import { hour_ticks, mark_kind, place, shortened, type Mark } from './sheet';
import { use_theme } from './theme';
import type { Incident } from './types';
import { bare } from './words';

const head = 34;          // for the labels of events
const panel_height = 112;
const panel_gap = 22;
const foot = 20;          // for the times
const bottom = head + 2 * panel_height + panel_gap;
const height = bottom + foot;

// What came before, during and after, on the incident's time axis.
export function incident_marks(i: Incident): Mark[] {
  const from = i.timeline[0]?.ts ?? i.started_at;
  const to = i.timeline[i.timeline.length - 1]?.ts ?? i.updated_at;
  const marks: Mark[] = i.events.filter((e) => e.ts >= from && e.ts <= to).map((e) => ({ ts: e.ts, kind: mark_kind(e), label: e.title }));
  if (i.started_at >= from && i.started_at <= to) marks.push({ ts: i.started_at, kind: 'data', label: 'first model' });
  if (i.opened_at >= from && i.opened_at <= to) marks.push({ ts: i.opened_at, kind: i.paged ? 'page' : 'data', label: i.paged ? 'page' : 'opened' });
  if (i.resolved_at !== null && i.resolved_at >= from && i.resolved_at <= to) marks.push({ ts: i.resolved_at, kind: 'data', label: 'resolved' });
  return marks.sort((a, b) => a.ts - b.ts);
}

// Two panels on one time axis: how many models are out of band, beside what chance gives, and how strong the
// evidence is, beside what a page needs. uPlot draws the series; words and marks are SVG above it.
export function Evidence({ incident: i }: { incident: Incident }) {
  const [box, width] = use_width<HTMLDivElement>();
  const theme = use_theme();
  const host = useRef<HTMLDivElement>(null);
  const [at, point] = useState<number | null>(null);
  const narrow = width < 560;
  const left = 46;
  const right = narrow ? 8 : 96;
  const line = i.timeline;
  const n = line.length;
  const moved_ticks = count_ticks(Math.max(1, ...line.map((p) => p.moved), i.moved));
  const odds_axis = odds_ticks(Math.max(log10(i.needed) + 0.5, ...line.map((p) => log10(p.ratio))));

  useEffect(() => {
    if (!host.current || !width || n < 2) return;
    const ink = css(token('ink')), series = css(token('series')), band = css(token('band')), grid = css(token('line'));
    const seconds = line.map((p) => p.ts / 1000);
    const range: [number, number] = [seconds[0], seconds[n - 1]];
    const panel = (ys: number[], ticks: number[], stroke: string, fill: string | undefined, stepped: boolean) => {
      const options: uPlot.Options = {
        width, height: panel_height, padding: [0, right, 0, left], legend: { show: false },
        cursor: { y: false, sync: { key: 'evidence', scales: ['x', null] }, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { x: { time: false, range }, y: { range: [0, ticks[ticks.length - 1]] } },
        axes: [{ show: false }, { show: false }],
        series: [{}, { stroke, fill, width: 1.6, points: { show: false }, paths: stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined }],
        hooks: {
          drawClear: [(u) => {
            u.ctx.strokeStyle = grid;
            u.ctx.lineWidth = devicePixelRatio;
            for (const t of ticks) {
              const y = Math.round(u.valToPos(t, 'y', true)) + 0.5;
              u.ctx.beginPath();
              u.ctx.moveTo(u.bbox.left, y);
              u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
              u.ctx.stroke();
            }
          }],
          setCursor: [(u) => point(u.cursor.idx ?? null)],
        },
      };
      return new uPlot(options, [seconds, ys], host.current as HTMLDivElement);
    };
    const plots = [
      panel(line.map((p) => p.moved), moved_ticks, series, band, true),
      panel(line.map((p) => log10(p.ratio)), odds_axis, ink, undefined, false),
    ];
    plots[1].root.style.marginTop = `${panel_gap}px`;
    return () => plots.forEach((p) => p.destroy());
  }, [i.timeline, width, theme, i.needed]);

  if (n < 2) return <p class="note">The evidence of single ticks is not kept for this incident; it reached {odds(i.evidence)} and needed {odds(i.needed)}.</p>;
  const from = line[0].ts;
  const to = line[n - 1].ts;
  const edge = width - right;
  const x = (ts: number) => left + ((ts - from) / Math.max(1, to - from)) * (edge - left);
  const y_in = (panel: 0 | 1, share: number) => head + panel * (panel_height + panel_gap) + panel_height * (1 - share);
  const y_moved = (v: number) => y_in(0, v / moved_ticks[moved_ticks.length - 1]);
  const y_odds = (v: number) => y_in(1, v / odds_axis[odds_axis.length - 1]);
  const page = y_odds(log10(i.needed));
  const chance = y_moved(i.expected_by_chance);
  const last = line[n - 1];
  const peak = line.reduce((best, p) => (p.ratio > best.ratio ? p : best), line[0]);
  const paged_at = i.paged && i.opened_at >= from && i.opened_at <= to ? i.opened_at : null;
  const marks = place(incident_marks(i), (ts) => x(ts) - left, edge - left, (m) => shortened(`${clock(m.ts)} ${m.label}`, narrow ? 20 : 36), (t) => t.length * 5.8);
  const hover = at === null ? null : line[at];
  const finding = `From ${clock(from)} to ${clock(to)}: ${last.moved} of ${i.members} models out of band, ${number(i.expected_by_chance, 1)} would be by chance; evidence reached ${odds(peak.ratio)} at ${clock(peak.ts)}, a page needs ${odds(i.needed)}`;
  const apart = (a: number, b: number, least: number) => (Math.abs(a - b) < least ? (a >= b ? b + least : b - least) : a);
  return (
    <div ref={box} style={{ minHeight: height + 22 }}>
      <div class="charts" role="img" aria-label={finding} style={{ height }}>
        {width > 0 && paged_at !== null && <svg width={width} height={height} aria-hidden="true"><rect x={x(paged_at)} y={head} width={Math.max(0, edge - x(paged_at))} height={bottom - head} fill="var(--fail-bg)" /></svg>}
        <div ref={host} style={{ paddingTop: head }} />
        {width > 0 && (
          <svg width={width} height={height} aria-hidden="true">
            {moved_ticks.map((t) => <text key={`m${t}`} class="tk" x={left - 7} y={y_moved(t) + 3.5} text-anchor="end">{t}</text>)}
            {odds_axis.map((t) => <text key={`o${t}`} class="tk" x={left - 7} y={y_odds(t) + 3.5} text-anchor="end">{odds_tick(t)}</text>)}
            <line x1={left} x2={edge} y1={chance} y2={chance} stroke="var(--ink-2)" stroke-dasharray="4 3" />
            <line x1={left} x2={edge} y1={page} y2={page} stroke="var(--t-fail)" stroke-width="1.5" />
            {marks.map((m, k) => (
              <g key={k} transform={`translate(${left} 0)`}>
                <line x1={m.x} x2={m.x} y1={(m.level ? 8 : 24) + 5} y2={bottom} stroke={m.kind === 'page' ? 'var(--t-fail)' : 'var(--ink-2)'} stroke-dasharray={m.kind === 'page' ? undefined : '1 3'} />
                <EventMark kind={m.kind} x={m.x} y={m.level ? 8 : 24} />
                {m.text && <text class={`halo in2 tk ${m.kind === 'page' ? 'b' : ''}`} x={m.end ? m.x - 9 : m.x + 9} y={(m.level ? 8 : 24) + 4} text-anchor={m.end ? 'end' : 'start'}>{m.text}</text>}
              </g>
            ))}
            <text class="in2 b halo" x={left + 6} y={y_in(0, 1) + 11}>Models out of band, of {number(i.members)}</text>
            <text class="in2 b halo" x={left + 6} y={y_in(1, 1) + 11}>{narrow ? 'Evidence, log scale' : 'Evidence against \u2018nothing changed\u2019, log scale'}</text>
            {!narrow && (
              <>
                <text class="in b" x={edge + 8} y={apart(y_moved(last.moved), chance, 15) + 4}>{number(last.moved)}</text>
                <text class="in2" x={edge + 8} y={chance + 4}>{number(i.expected_by_chance, 1)} by chance</text>
                <text class="in2" x={edge + 8} y={page + 4}>page at</text>
                <text class="in2" x={edge + 8} y={page + 18}>{odds(i.needed)}</text>
              </>
            )}
            {narrow && <text class="in2 halo" x={left + 6} y={page + 15}>page at {odds(i.needed)}</text>}
            <circle cx={x(peak.ts)} cy={y_odds(log10(peak.ratio))} r="3.5" fill="var(--t-fail)" />
            <text class="in b halo" x={x(peak.ts) - 8} y={Math.max(y_in(1, 1) + (x(peak.ts) - 76 > left + (narrow ? 120 : 270) ? 9 : 24), y_odds(log10(peak.ratio)) - 10)} text-anchor={x(peak.ts) > left + 90 ? 'end' : 'start'}>{odds(peak.ratio)}</text>
            <line x1={left} x2={edge} y1={bottom} y2={bottom} stroke="var(--line-2)" />
            {hour_ticks(from, to, edge - left).map((t) => (
              <g key={t}><line x1={x(t)} x2={x(t)} y1={bottom} y2={bottom + 4} stroke="var(--line-2)" /><text class="tk" x={x(t)} y={bottom + 16} text-anchor={x(t) > edge - 16 ? 'end' : x(t) < left + 16 ? 'start' : 'middle'}>{clock(t)}</text></g>
            ))}
          </svg>
        )}
      </div>
      <p class="readout" aria-hidden="true">{hover ? `${moment(hover.ts, i.updated_at)}: ${hover.moved} of ${i.members} out of band, evidence ${odds(hover.ratio)}` : ''}</p>
    </div>
  );
}

// The same as a table, for those who do not see a chart or want the numbers.
export function EvidenceNumbers({ incident: i, open, toggle }: { incident: Incident; open: boolean; toggle: (open: boolean) => void }) {
  return (
    <details class="numbers" open={open} onToggle={(e) => toggle(e.currentTarget.open)}>
      <summary>The numbers <kbd aria-hidden="true">T</kbd></summary>
      {open && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Evidence by tick">
          <table><thead><tr><th>Time</th><th class="num">Out of band, of {number(i.members)}</th><th class="num">Evidence</th></tr></thead>
            <tbody>{[...i.timeline].reverse().map((p) => <tr key={p.ts}><td>{moment(p.ts, i.updated_at)}</td><td class="num">{p.moved}</td><td class="num">{odds(p.ratio)}</td></tr>)}</tbody></table>
        </div>
      )}
    </details>
  );
}

// What failed, and through which families it is seen: a node is one line.
export function FailurePath({ incident: i, families }: { incident: Incident; families: { name: string; hit: number; of: number }[] }) {
  const [box, width] = use_width<HTMLDivElement>();
  const shown = families.slice(0, 6);
  const height = Math.max(60, shown.length * 46);
  const w = Math.max(90, width * 0.4);
  const x2 = width - w;
  const mid = height / 2;
  const node = (x: number, y: number, name: string, sub: string, tone: string, bad: boolean) => (
    <g key={name}>
      <rect x={x} y={y - 18} width={w} height="36" rx="4" fill="var(--surface)" stroke={bad ? 'var(--h-fail)' : 'var(--line-2)'} stroke-width={bad ? 1.5 : 1} />
      <rect x={x} y={y - 18} width="4" height="36" rx="1.5" fill={`var(--h-${tone})`} />
      <text class="in b" x={x + 11} y={y - 3}>{cut(name, w - 16)}</text>
      <text class="tk" x={x + 11} y={y + 11}>{cut(sub, w - 16)}</text>
    </g>
  );
  const label = `${bare(i.cause)} is used by ${families.map((f) => `${f.name}, ${f.hit} of ${f.of} shifted`).join('; ')}`;
  return (
    <div ref={box} style={{ minHeight: height }}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={label}>
          {shown.map((f, k) => {
            const y = 23 + k * 46 + (height - shown.length * 46) / 2;
            return <path key={f.name} d={`M${w} ${mid}C${(w + x2) / 2} ${mid} ${(w + x2) / 2} ${y} ${x2} ${y}`} fill="none" stroke="var(--h-fail)" stroke-opacity=".5" stroke-width={1 + 4 * (f.hit / Math.max(1, f.of))} />;
          })}
          {node(0, mid, bare(i.cause), i.cause_kind.replaceAll('_', ' ') + (i.team ? ` \u00b7 ${i.team}` : ''), 'fail', true)}
          {shown.map((f, k) => {
            const share = f.hit / Math.max(1, f.of);
            return node(x2, 23 + k * 46 + (height - shown.length * 46) / 2, f.name, `${f.hit} of ${f.of} shifted`, share > 0.5 ? 'fail' : share > 0.25 ? 'degr' : 'watch', share > 0.5);
          })}
        </svg>
      )}
      {families.length > shown.length && <p class="note">and {count(families.length - shown.length, 'more family', 'more families')}</p>}
    </div>
  );
}

const cut = (text: string, width: number) => (text.length * 6.1 > width ? `${text.slice(0, Math.max(3, Math.floor(width / 6.1) - 1))}\u2026` : text);
