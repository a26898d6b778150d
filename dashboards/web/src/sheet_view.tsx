import { Component, type RefObject } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { css, score_ramp, token, type Rgb } from './colour';
import type { Fleet, Heat } from './fleet_state';
import { clock, count, number } from './format';
import { EventMark, Glyph } from './glyph';
import { set_query, Link } from './router';
import { use_width } from './shell';
import {
  caption_of, cell_size, cells_height, count_states, group_bys, groups_of, hour_ticks, marks_of, matches, model_label, order_of, place,
  pooled, shortened, state_words, states, strip_shape, type Filter, type Group, type GroupBy, type Mark, type Order,
} from './sheet';
import { use_theme } from './theme';
import type { Model, ModelState } from './types';

const group_words: Record<GroupBy, string> = { family: 'Family', team: 'Team', region: 'Region' };
const token_of: Partial<Record<ModelState, string>> = { ok: 'ok', watch: 'watch', degraded: 'degr', failing: 'fail' };
// Above this many models a row shows its counts; the cells are one tap away.
const cells_max = 5000;

interface CellProps { model: Model; x: number; y: number; size: number; tab: boolean }

// One model: fill = worst monitor, stroke = trend of health over 6 h, bar at the foot = score. Healthy and
// quiet is without ink.
class Cell extends Component<CellProps> {
  shouldComponentUpdate(next: CellProps) {
    const now = this.props;
    return next.model !== now.model || next.x !== now.x || next.y !== now.y || next.size !== now.size || next.tab !== now.tab;
  }

  render({ model: m, x, y, size, tab }: CellProps) {
    const tip = `${m.id}\n${state_words[m.state]}${m.state === 'silent' ? '' : `, score ${m.score}`}\n${m.caption || 'no monitor is out of its band'}`;
    return (
      <g class="cell" role="button" tabindex={tab ? 0 : -1} data-id={m.id} data-tip={tip} aria-label={model_label(m)}>
        <CellShape model={m} x={x} y={y} size={size} />
      </g>
    );
  }
}

function CellShape({ model: m, x, y, size }: { model: Pick<Model, 'state' | 'trend' | 'score' | 'learning_days_left'>; x: number; y: number; size: number }) {
  const name = token_of[m.state];
  const large = size > 16;
  const radius = large ? 2.5 : 1.5;
  const cx = x + size / 2;
  const cy = y + size / 2;
  if (!name) {
    const left = m.learning_days_left;
    return (
      <>
        <rect x={x + 0.5} y={y + 0.5} width={size - 1} height={size - 1} rx={radius} fill={m.state === 'silent' ? 'var(--h-none)' : 'transparent'} stroke="var(--ink-3)" stroke-dasharray={m.state === 'learning' ? '2.5 2' : undefined} />
        {m.state === 'silent' && <path d={large ? `M${cx - 5} ${cy}h10` : `M${x + 3} ${cy}h${size - 6}`} stroke="var(--ink-2)" stroke-width={large ? 1.8 : 1.5} />}
        {m.state === 'muted' && large && <path d={`M${x + 5} ${y + size - 5}l${size - 10} ${10 - size}`} stroke="var(--ink-3)" />}
        {m.state === 'learning' && large && <text x={cx} y={cy + 3.5} text-anchor="middle" style="font-size:9px" aria-hidden="true">{left >= 1 ? `${Math.ceil(left)}d` : `${Math.max(1, Math.ceil(left * 24))}h`}</text>}
      </>
    );
  }
  const on = `var(--on-${name})`;
  const quiet = m.state === 'ok' && m.score < 20;
  const slope = m.trend * 4;
  return (
    <>
      <rect x={x} y={y} width={size} height={size} rx={radius} fill={`var(--h-${name})`} />
      {large && !(quiet && !m.trend) && (
        <>
          <path d={`M${cx - 5} ${cy - 2 + slope * 0.9}L${cx + 5} ${cy - 2 - slope * 0.9}`} stroke={on} stroke-width="1.6" stroke-linecap="round" />
          {!quiet && <rect x={x + 3} y={y + size - 5} width={(m.score / 100) * (size - 6)} height="2.2" fill={on} />}
        </>
      )}
      {!large && m.state === 'failing' && <path d={`M${x + 3} ${y + 3}l${size - 6} ${size - 6}M${x + size - 3} ${y + 3}l${6 - size} ${size - 6}`} stroke={on} stroke-width="1.2" />}
      {!large && m.state === 'degraded' && <path d={`M${cx} ${y + 3}l${size / 2 - 3} ${size - 6}h${6 - size}Z`} fill={on} />}
      {!large && m.state === 'watch' && <circle cx={cx} cy={cy} r="1.6" fill={on} />}
    </>
  );
}

interface RowProps {
  group: Group;
  by: GroupBy;
  heat: Heat | null;
  index: Map<string, number>;
  ramp: Ramp;
  marks: Mark[];
  cells_width: number;
  strip_width: number;
  large: boolean;
  counts_only: boolean;
  tab: string | null;  // the cell that Tab reaches, when it is in this row
  open: (key: string, model?: string) => void;
}

interface Ramp { colours: Rgb[]; none: Rgb; page: Rgb; ink: Rgb }

class Row extends Component<RowProps> {
  canvas: RefObject<HTMLCanvasElement> = { current: null };
  drawn: { heat?: Heat | null; models?: Model[]; ramp?: Ramp; width?: number; marks?: Mark[] } = {};

  shouldComponentUpdate(next: RowProps) {
    const now = this.props;
    return (
      next.heat !== now.heat || next.ramp !== now.ramp || next.marks !== now.marks || next.cells_width !== now.cells_width ||
      next.strip_width !== now.strip_width || next.large !== now.large || next.tab !== now.tab || next.by !== now.by ||
      next.counts_only !== now.counts_only || next.group.models.length !== now.group.models.length || next.group.models.some((m, i) => m !== now.group.models[i])
    );
  }

  componentDidMount() { this.draw(); }
  componentDidUpdate() { this.draw(); }

  shape() {
    const { group, large, counts_only } = this.props;
    return strip_shape(group.models.length, large || counts_only, innerWidth <= 720);
  }

  draw() {
    const { heat, group, ramp, strip_width, marks, index } = this.props;
    const canvas = this.canvas.current;
    if (!canvas || !heat || !strip_width) return;
    const d = this.drawn;
    if (d.heat === heat && d.ramp === ramp && d.width === strip_width && d.marks === marks && d.models && d.models.length === group.models.length && d.models.every((m, i) => m.id === group.models[i].id)) return;
    this.drawn = { heat, models: group.models, ramp, width: strip_width, marks };
    const { pool, lines, line_px } = this.shape();
    const columns = heat.ticks.length;
    const scores = pooled(heat, index, group.models, pool);
    const image = new ImageData(columns, lines);
    for (let i = 0; i < scores.length; i++) {
      const [r, g, b] = scores[i] === 255 ? ramp.none : ramp.colours[Math.min(100, scores[i])];
      image.data.set([r, g, b, 255], 4 * i);
    }
    const source = new OffscreenCanvas(columns, lines);
    source.getContext('2d')?.putImageData(image, 0, 0);
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(strip_width * ratio);
    canvas.height = Math.round(lines * line_px * ratio);
    const to = canvas.getContext('2d');
    if (!to) return;
    to.imageSmoothingEnabled = false;
    to.drawImage(source, 0, 0, canvas.width, canvas.height);
    const x_of = strip_scale(heat, strip_width);
    for (const m of marks) {
      to.fillStyle = m.kind === 'page' ? css(ramp.page, 0.9) : css(ramp.ink, 0.28);
      to.fillRect(Math.round(x_of(m.ts) * ratio), 0, Math.max(1, Math.round(ratio)), canvas.height);
    }
  }

  point = (e: PointerEvent) => {
    const { heat, group, index } = this.props;
    const canvas = this.canvas.current;
    const tip = document.getElementById('tip');
    if (!canvas || !heat || !tip) return;
    const box = canvas.getBoundingClientRect();
    const { pool, lines } = this.shape();
    const line = Math.min(lines - 1, Math.max(0, Math.floor(((e.clientY - box.top) / box.height) * lines)));
    const t = Math.min(heat.ticks.length - 1, Math.max(0, Math.floor(((e.clientX - box.left) / box.width) * heat.ticks.length)));
    const m = group.models[Math.min(group.models.length - 1, line * pool)];
    const row = index.get(m.id);
    const score = row === undefined ? 255 : heat.scores[row * heat.ticks.length + t];
    canvas.dataset.tip = `${m.id}${pool > 1 ? ` and ${pool - 1} more` : ''}\n${clock(heat.ticks[t])}, ${score === 255 ? 'no data' : `score ${score}`}`;
    tip.textContent = canvas.dataset.tip;
  };

  render({ group, by, cells_width, large, counts_only, tab, open, strip_width }: RowProps) {
    const { key, models } = group;
    const name = key || `no ${by}`;
    const { size, gap } = large ? { size: 11, gap: 2 } : { size: 24, gap: 3 };
    const per_row = Math.max(1, Math.floor((cells_width + gap) / (size + gap)));
    const height = cells_height(models.length, cells_width, size, gap);
    const { lines, line_px } = this.shape();
    const parts = caption_of(models);
    const caption = parts.map((p) => p.text + (p.detail ? `: ${p.detail}` : '')).join(' \u00b7 ');
    const families = new Set(models.map((m) => m.family)).size;
    const teams = new Set(models.map((m) => m.team));
    const second = by !== 'family' ? count(families, 'family', 'families') : teams.size > 1 ? count(teams.size, 'team') : models[0].team;
    return (
      <div class="row" role="group" aria-label={`${name}, ${count(models.length, 'model')}`}>
        <div class="lab">
          <h3><button class="plain" onClick={() => open(key)} aria-label={`${name}, list of ${count(models.length, 'model')}`}>{name}</button></h3>
          {second && <p class="team">{second}</p>}
          <p class="team">{count(models.length, 'model')}</p>
        </div>
        <div>
          {counts_only ? (
            <Counts models={models} width={cells_width} />
          ) : (
            <svg width={cells_width} height={height} viewBox={`0 0 ${cells_width} ${height}`} role="group" aria-label={`${name}: cells`}>
              {cells_width > 0 && models.map((m, i) => <Cell key={m.id} model={m} x={(i % per_row) * (size + gap)} y={Math.floor(i / per_row) * (size + gap)} size={size} tab={tab === m.id} />)}
            </svg>
          )}
          <p class="cap" data-tip={caption.length > 60 ? caption : undefined}>{parts.map((p, i) => <>{i > 0 && ' \u00b7 '}{p.tone ? <span class={`t-${p.tone}`}>{p.text}</span> : p.text}{p.detail && `: ${p.detail}`}</>)}</p>
        </div>
        <div>
          <canvas ref={this.canvas} role="img" aria-label={`Score of ${count(models.length, 'model')} of ${name} over the time above`} style={{ height: lines * line_px, visibility: strip_width ? 'visible' : 'hidden' }} onPointerMove={this.point} data-tip={name} />
        </div>
      </div>
    );
  }
}

// A row of a very large fleet: how many are in which state.
function Counts({ models, width }: { models: Model[]; width: number }) {
  const n = count_states(models);
  let x = 0;
  return (
    <svg width={width} height={18} role="img" aria-label={states.filter((s) => n[s]).map((s) => `${n[s]} ${state_words[s]}`).join(', ')}>
      {states.filter((s) => n[s]).map((s) => {
        const w = (n[s] / models.length) * width;
        const from = x;
        x += w;
        return <rect key={s} x={from} y="2" width={Math.max(1, w - 1)} height="14" fill={`var(--h-${token_of[s] ?? 'none'})`} />;
      })}
    </svg>
  );
}

// A tick's column stands left of its instant, so that the newest ends at the right edge.
function strip_scale(heat: Heat, width: number): (ts: number) => number {
  const n = heat.ticks.length;
  const last = heat.ticks[n - 1];
  const step = n > 1 ? (last - heat.ticks[0]) / (n - 1) : 60_000;
  const from = last - n * step;
  return (ts) => ((ts - from) / (last - from)) * width;
}

function Axis({ heat, marks, width }: { heat: Heat; marks: Mark[]; width: number }) {
  const narrow = width < 500;
  const height = 46;
  const x_of = strip_scale(heat, width);
  const from = heat.ticks[0];
  const to = heat.ticks[heat.ticks.length - 1];
  const placed = place(marks, x_of, width, (m) => (narrow && m.kind !== 'page' ? '' : shortened(`${clock(m.ts)} ${m.kind === 'page' ? 'page ' : ''}${m.label}`, 32)), (text) => text.length * 5.6);
  const span = Math.round((to - from) / 3_600_000);
  return (
    <svg width={width} height={height} role="img" aria-label={`Last ${span} h: score, one line a model. ${placed.map((p) => `${clock(p.ts)} ${p.label}`).join(', ')}`}>
      {hour_ticks(from, to, width).map((t) => (
        <g key={t}>
          <text class="tk" x={x_of(t)} y={height - 4} text-anchor={x_of(t) < 16 ? 'start' : x_of(t) > width - 16 ? 'end' : 'middle'}>{clock(t)}</text>
          <line x1={x_of(t)} x2={x_of(t)} y1={height - 1} y2={height + 3} stroke="var(--line-2)" />
        </g>
      ))}
      {placed.map((p, i) => {
        const y = p.level ? 11 : 26;
        return (
          <g key={i}>
            <line x1={p.x} x2={p.x} y1={y + 3} y2={height} stroke={p.kind === 'page' ? 'var(--t-fail)' : 'var(--ink-3)'} stroke-dasharray="1 2" />
            <EventMark kind={p.kind} x={p.x} y={y - 3.5} />
            {p.text && <text class="tk in2 halo" x={p.end ? p.x - 9 : p.x + 9} y={y} text-anchor={p.end ? 'end' : 'start'}>{p.text}</text>}
          </g>
        );
      })}
    </svg>
  );
}

export function Sheet({ fleet, by, filter }: { fleet: Fleet; by: GroupBy; filter: Filter }) {
  const theme = use_theme();
  const ramp = useMemo<Ramp>(
    () => ({ colours: score_ramp(['s-0', 's-25', 's-50', 's-75', 's-100'].map(token)), none: token('line-2'), page: token('t-fail'), ink: token('ink') }),
    [theme],
  );
  const [cells_ref, cells_width] = use_width<HTMLDivElement>();
  const [strip_ref, strip_width] = use_width<HTMLDivElement>();
  const pointing = useRef(false);
  const shown_order = useRef<Order>();
  const [, settle] = useState(0);
  const [tab, set_tab] = useState<string | null>(null);
  const [open, set_open] = useState<{ key: string; model?: string } | null>(null);

  const all = fleet.models;
  const counts = useMemo(() => count_states(all), [all]);
  const shown = useMemo(() => all.filter((m) => matches(m, filter)), [all, filter.words, filter.states.join()]);
  const groups = groups_of(shown, by, pointing.current ? shown_order.current : undefined);
  shown_order.current = order_of(groups, by);
  const index = useMemo(() => new Map(fleet.heat?.ids.map((id, i) => [id, i]) ?? []), [fleet.heat]);
  const from = fleet.heat?.ticks[0] ?? fleet.at;
  const marks = useMemo(() => marks_of(fleet.events, [...fleet.incidents, ...fleet.recent], from), [fleet.events, fleet.incidents, fleet.recent, from]);
  const large = cell_size(all.length).size < 16;
  const counts_only = all.length > cells_max;
  const tab_id = (tab && shown.some((m) => m.id === tab) ? tab : groups[0]?.models[0]?.id) ?? null;
  const open_group = open && groups.find((g) => g.key === open.key);

  const leave = () => {
    pointing.current = false;
    settle((n) => n + 1);
  };
  const walk = (e: KeyboardEvent) => {
    const cell = (e.target as Element).closest<SVGGElement>('.cell');
    if (!cell) return;
    const id = cell.dataset.id ?? '';
    if (e.key === 'Enter' || e.key === ' ') {
      e.preventDefault();
      pick(id);
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    const cells = [...(e.currentTarget as Element).querySelectorAll<SVGGElement>('.cell')];
    const next = cells[cells.indexOf(cell) + step];
    if (!next) return;
    set_tab(next.dataset.id ?? null);
    next.focus();
  };
  const pick = (id: string) => {
    const group = groups.find((g) => g.models.some((m) => m.id === id));
    if (group) set_open({ key: group.key, model: id });
  };
  const press = (e: MouseEvent) => {
    const cell = (e.target as Element).closest<SVGGElement>('.cell');
    if (cell) pick(cell.dataset.id ?? '');
  };
  const toggle = (s: ModelState) => {
    const next = filter.states.includes(s) ? filter.states.filter((x) => x !== s) : [...filter.states, s];
    set_query({ state: next.join() });
  };

  return (
    <section aria-label="Fleet">
      <div class="filters">
        <input class="in" id="find-models" aria-label="Filter models" placeholder="Filter, e.g. team:growth eu" value={filter.words} onInput={(e) => set_query({ q: e.currentTarget.value })} />
        <div class="seg" role="group" aria-label="Group by">
          {group_bys.map((g) => <button key={g} aria-pressed={g === by} onClick={() => set_query({ group: g === 'family' ? null : g })}>{group_words[g]}</button>)}
        </div>
        <span class="bar" style="flex-wrap:nowrap;gap:6px">
          {states.map((s) => <button key={s} class="chip" aria-pressed={filter.states.includes(s)} onClick={() => toggle(s)}><Glyph state={s} /><b>{number(counts[s])}</b>{state_words[s]}</button>)}
        </span>
      </div>
      <div class="sheet" onPointerEnter={() => (pointing.current = true)} onPointerLeave={leave} onFocusIn={() => (pointing.current = true)} onFocusOut={leave} onKeyDown={walk} onClick={press}>
        <div class="row h">
          <div>{group_words[by]}</div>
          <div ref={cells_ref}>Now: one cell a model, worst first</div>
          <div class="axis" ref={strip_ref} style={{ minHeight: 50 }}>{fleet.heat && strip_width > 0 && <Axis heat={fleet.heat} marks={marks} width={strip_width} />}</div>
        </div>
        {groups.map((g) => (
          <Row key={`${by} ${g.key}`} group={g} by={by} heat={fleet.heat} index={index} ramp={ramp} marks={marks} cells_width={innerWidth <= 720 ? strip_width : cells_width} strip_width={strip_width} large={large} counts_only={counts_only}
            tab={tab_id && g.models.some((m) => m.id === tab_id) ? tab_id : null} open={(key, model) => set_open({ key, model })} />
        ))}
        {!groups.length && (
          <div class="none">
            <h3>No model matches{filter.words ? ` \u201c${filter.words}\u201d` : ''}{filter.states.length ? ` ${filter.states.map((s) => state_words[s]).join(', ')}` : ''}.</h3>
            <p class="s" style="margin-top:4px">{count(all.length, 'model')} match without the filter. <button class="btn lo" onClick={() => set_query({ q: null, state: null })}>Clear it</button></p>
          </div>
        )}
        <Legend large={large} />
      </div>
      {open_group && open && <ModelList group={open_group} chosen={open.model} close={() => set_open(null)} />}
    </section>
  );
}

function Legend({ large }: { large: boolean }) {
  const cell = (state: ModelState, trend: number, score: number) => (
    <svg width="24" height="24" aria-hidden="true"><CellShape model={{ state, trend, score, learning_days_left: 6 }} x={0} y={0} size={24} /></svg>
  );
  return (
    <div class="legend">
      <span>{cell('ok', 1, 10)}stroke: trend of health over 6 h; bar: score 0 to 100</span>
      <span>{cell('learning', 0, 0)}learning, 6 days to go</span>
      <span>{cell('silent', 0, 0)}silent: expected, absent</span>
      <span>score 0 <svg width="120" height="10" aria-hidden="true"><defs><linearGradient id="ramp">{[[0, 0], [15, 0], [35, 25], [55, 50], [78, 75], [100, 100]].map(([at, k]) => <stop key={at} offset={`${at}%`} stop-color={`var(--s-${k})`} />)}</linearGradient></defs><rect width="120" height="10" fill="url(#ramp)" /></svg> 100 = page candidate</span>
      <span><svg width="14" height="10" aria-hidden="true"><rect width="14" height="10" fill="var(--line-2)" /></svg>no data</span>
      {large && <span>a line is the worst of a few models</span>}
    </div>
  );
}

// The models of a row as a list: what a finger hits instead of a cell, and what Enter opens.
function ModelList({ group, chosen, close }: { group: Group; chosen?: string; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    dialog.current?.querySelector('.best')?.scrollIntoView({ block: 'center' });
  }, []);
  const shown_max = 100;
  const at = Math.max(0, group.models.findIndex((m) => m.id === chosen));
  const first = Math.max(0, Math.min(at - shown_max / 2, group.models.length - shown_max));
  const shown = group.models.slice(first, first + shown_max);
  return (
    <dialog ref={dialog} class="ask wide" aria-labelledby="list-h" onClose={close}>
      <div class="hd"><h2 id="list-h">{group.key || 'Models'}</h2><p>{count(group.models.length, 'model')}, worst first</p><form method="dialog" class="r"><button class="btn">Close</button></form></div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Models">
        <table class="sus" aria-rowcount={group.models.length}>
          <thead><tr><th>Model</th><th>State</th><th class="num">Score</th><th class="hidep">Version</th><th>Incident</th></tr></thead>
          <tbody>
            {shown.map((m) => (
              <tr key={m.id} class={m.id === chosen ? 'best' : ''}>
                <td><b>{m.id}</b> <span class="q">{m.region}</span><p class="why">{m.caption || 'no monitor is out of its band'}</p></td>
                <td class="nb"><Glyph state={m.state} /> {state_words[m.state]}</td>
                <td class="num">{m.state === 'silent' ? 'not known' : m.score}</td>
                <td class="hidep mono">{m.version}</td>
                <td>{m.incident ? <Link to={`/incidents/${m.incident}`}>{m.incident}</Link> : <span class="q">none</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {group.models.length > shown.length && <p class="note">{number(group.models.length - shown.length)} more; filter the sheet to see them.</p>}
    </dialog>
  );
}
