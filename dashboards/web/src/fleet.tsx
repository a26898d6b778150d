import { useEffect, useRef, useState } from 'preact/hooks';

import { break_something, Failure, read_demo } from './api';
import type { Fleet } from './fleet_state';
import { clock, clock_utc, count, days, duration, moment, number } from './format';
import { EventMark, Glyph } from './glyph';
import { refresh, use_live } from './live';
import { Link, use_location } from './router';
import { say, use_keys, use_title, find_models, show_keys } from './shell';
import { group_bys, states, type GroupBy } from './sheet';
import { Sheet } from './sheet_view';
import { Failed, Learning, Loading, NoSamples, NothingWrong } from './states';
import type { DemoJson, IncidentSummary, ModelState } from './types';
import { changes, emphasised, fleet_finding, incident_facts, lately_ms, tone_of } from './words';

export function FleetPage() {
  const { fleet, failure, retry_at } = use_live();
  const demo = use_demo();
  if (!fleet && failure) return <Failed failure={failure} again={() => void refresh()} retry_at={retry_at} />;
  if (!fleet || demo === undefined) return <Loading what="Reading the fleet" />;
  if (!fleet.models.length) return <Empty demo={demo} />;
  return <Whole fleet={fleet} demo={demo} />;
}

function Empty({ demo }: { demo: DemoJson | null }) {
  use_title('No samples yet');
  return <>{demo && <Demo demo={demo} />}<NoSamples /></>;
}

function Whole({ fleet, demo }: { fleet: Fleet; demo: DemoJson | null }) {
  const { query } = use_location();
  const finding = fleet_finding(fleet);
  use_title(finding);
  use_keys({ '/': find_models, '?': show_keys });
  const group = query.get('group') as GroupBy;
  const wanted = (query.get('state') ?? '').split(',').filter((s): s is ModelState => states.includes(s as ModelState));
  return (
    <>
      <h1 class="vh">{finding}</h1>
      {demo && <Demo demo={demo} />}
      <LedgerLine fleet={fleet} />
      {fleet.learning && <Learning fleet={fleet} />}
      <div class="two">
        <OpenIncidents fleet={fleet} />
        <Changed fleet={fleet} />
      </div>
      <Sheet fleet={fleet} by={group_bys.includes(group) ? group : 'family'} filter={{ words: query.get('q') ?? '', states: wanted }} />
    </>
  );
}

function LedgerLine({ fleet }: { fleet: Fleet }) {
  const { ledger, coverage } = fleet;
  const held = Math.max(0, (fleet.at - ledger.since) / 86_400_000);
  const budget = ledger.budget_per_week === 1 ? 'at most 1 false page a week' : `at most ${number(ledger.budget_per_week, ledger.budget_per_week % 1 ? 1 : 0)} false pages a week`;
  const since = fleet.learning ? 'It begins when learning ends.' : `Last ${days(Math.max(held, 0.05))}:`;
  const others = [coverage.learning && `${number(coverage.learning)} learning`, coverage.silent && `${number(coverage.silent)} silent`].filter(Boolean).join(' \u00b7 ');
  return (
    <div class="ledger" role="group" aria-label="Page budget and coverage">
      <div class="lg">
        <div><p class="k">Page budget: {budget}. {since}</p>
          <p>false pages promised at most <b>{number(ledger.promised, 1)}</b>, pages sent <b>{number(ledger.sent)}</b></p></div>
        {!fleet.learning && held > 1 / 24 && <LedgerChart fleet={fleet} />}
      </div>
      <div><p class="k">Coverage</p>
        <p><b>{number(coverage.reporting)} of {number(coverage.models)}</b> models reporting {others && <span class="q">{'\u00b7'} {others}</span>}</p></div>
      <div class="desk"><p class="k">Watched</p><p><b>{number(fleet.series)}</b> series {fleet.samples > 0 && <span class="q">{'\u00b7'} {number(fleet.samples)} samples so far</span>}</p></div>
    </div>
  );
}

// Promise (line) and what was sent (steps). Steps are drawn only when the time of every page is known.
function LedgerChart({ fleet }: { fleet: Fleet }) {
  const { ledger } = fleet;
  const w = 168, h = 40, left = 2, right = w - 46;
  const top = Math.max(ledger.promised, ledger.sent, 1);
  const x = (ts: number) => left + ((ts - ledger.since) / Math.max(1, fleet.at - ledger.since)) * (right - left);
  const y = (n: number) => h - 5 - (n / top) * (h - 12);
  const pages = [...fleet.incidents, ...fleet.recent].filter((i) => i.paged && i.opened_at >= ledger.since).map((i) => i.opened_at).sort((a, b) => a - b);
  const steps = pages.length === ledger.sent ? pages : [];
  const apart = Math.abs(y(ledger.promised) - y(ledger.sent)) >= 11;
  const over = ledger.sent > ledger.promised;
  const y_promised = Math.max(apart || !over ? 9 : 23, y(ledger.promised) + 4);
  const y_sent = apart ? y(ledger.sent) + 4 : y_promised + (over ? -13 : 13);
  return (
    <svg width={w} height={h} style="flex:none" role="img" aria-label={`${number(ledger.promised, 1)} false pages were promised at most, ${count(ledger.sent, 'page was', 'pages were')} sent`}>
      <path d={`M${x(ledger.since)} ${y(0)}L${right} ${y(ledger.promised)}V${y(0)}Z`} fill="var(--band)" />
      <line x1={left} y1={y(0)} x2={right} y2={y(ledger.promised)} stroke="var(--band-line)" />
      <line x1={left} y1={y(0)} x2={right} y2={y(0)} stroke="var(--line-2)" />
      {steps.length > 0 && <path d={`M${left} ${y(0)}${steps.map((ts, i) => `H${x(ts).toFixed(1)}V${y(i + 1).toFixed(1)}`).join('')}H${right}`} fill="none" stroke="var(--ink)" stroke-width="1.5" />}
      {steps.length <= 12 && steps.map((ts, i) => <EventMark key={ts} kind="page" x={x(ts)} y={y(i + 1)} />)}
      {!steps.length && <circle cx={right} cy={y(ledger.sent)} r="3" fill="var(--ink)" />}
      <text class="tk" x={right + 7} y={y_promised}>{number(ledger.promised, 1)}</text>
      <text class="tk in b" x={right + 7} y={y_sent}>{number(ledger.sent)} sent</text>
    </svg>
  );
}

// The evidence score beside a sentence; the line at 100 is a page.
export function EvidenceBar({ incident }: { incident: IncidentSummary }) {
  const w = 148, full = w - 34;
  const score = Math.min(100, Math.max(0, Math.round(incident.score)));
  const tone = tone_of(incident);
  return (
    <svg width={w} height="22" role="img" aria-label={`evidence score ${score}, page at 100`}>
      <rect y="9" width={full} height="4" fill="var(--sunken)" />
      <rect y="9" width={(full * score) / 100} height="4" fill={`var(--${tone === 'ok' ? 'ink-3' : `h-${tone}`})`} />
      <line x1={full} x2={full} y1="4" y2="18" stroke="var(--ink-2)" stroke-width="1.5" />
      <text class="in b" x={w - 26} y="15">{score}</text>
    </svg>
  );
}

export function IncidentLine({ incident: i, now }: { incident: IncidentSummary; now: number }) {
  return (
    <Link class="inc" to={`/incidents/${i.id}`}>
      <Glyph state={tone_of(i)} size={13} />
      <div>
        <p class="st">{emphasised(i.title, i.cause).map((p) => (p.kind ? <b>{p.text}</b> : p.text))}</p>
        <p class="m">{incident_facts(i, now).map((f, n) => <>{n > 0 && ' \u00b7 '}{f.hot ? <b>{f.text}</b> : f.text}</>)}</p>
      </div>
      <div class="ev" data-tip="Evidence score, 100 = page"><EvidenceBar incident={i} /></div>
    </Link>
  );
}

function OpenIncidents({ fleet }: { fleet: Fleet }) {
  const ids = fleet.incidents.map((i) => i.id);
  const [seen, see] = useState(new Set(ids));
  const [announced, announce] = useState('');
  const known = useRef(new Set(ids));
  const held_back = fleet.incidents.filter((i) => !seen.has(i.id));
  // New rows wait while the reader looks further down: nothing moves under his eyes.
  useEffect(() => {
    const catch_up = () => {
      if (scrollY < 260) see((old) => (ids.every((id) => old.has(id)) ? old : new Set(ids)));
    };
    catch_up();
    addEventListener('scroll', catch_up, { passive: true });
    return () => removeEventListener('scroll', catch_up);
  }, [ids.join()]);
  useEffect(() => {
    const fresh = fleet.incidents.filter((i) => !known.current.has(i.id));
    known.current = new Set([...known.current, ...ids]);
    if (fresh.length) announce(`New incident: ${fresh.map((i) => i.title).join(' ')}`);
  }, [ids.join()]);
  const shown = fleet.incidents.filter((i) => seen.has(i.id));
  return (
    <section aria-label="Open incidents">
      <div class="hd"><h2>Open incidents</h2><p>one cause, one page</p><Link class="r note" to="/incidents">All incidents</Link></div>
      <p class="vh" role="status">{announced}</p>
      {held_back.length > 0 && <button class="pill" onClick={() => scrollTo({ top: 0 })}>{held_back.length} new {held_back.length === 1 ? 'incident' : 'incidents'}</button>}
      <div class="inc-list">
        {shown.map((i) => <IncidentLine key={i.id} incident={i} now={fleet.at} />)}
        {!fleet.incidents.length && <NothingWrong fleet={fleet} />}
        <StaticFindings fleet={fleet} />
      </div>
    </section>
  );
}

// What needs no history: limits, silence, flat lines. It is said and pages nobody by itself.
function StaticFindings({ fleet }: { fleet: Fleet }) {
  const all = fleet.static_findings;
  if (!all.length) return null;
  const line = (f: (typeof all)[number]) => (
    <li key={`${f.kind} ${f.model} ${f.metric}`}><Glyph state={f.kind === 'no_data' ? 'silent' : 'watch'} />
      <span><b>{f.model}</b>{f.metric ? ` ${f.metric}` : ''} {f.text} <span class="q">since {moment(f.since, fleet.at)}</span></span></li>
  );
  return (
    <div class="static">
      <h3>{count(all.length, 'finding')} without history: limits, no data, flat lines</h3>
      <ul>{all.slice(0, 3).map(line)}</ul>
      {all.length > 3 && <details><summary>{number(all.length - 3)} more</summary><ul>{all.slice(3, 100).map(line)}</ul></details>}
    </div>
  );
}

function Changed({ fleet }: { fleet: Fleet }) {
  const all = changes(fleet);
  const shown = all.slice(0, 7);
  const span = lately_ms(fleet) === 3_600_000 ? 'hour' : duration(lately_ms(fleet));
  return (
    <section aria-label="Changed lately">
      <div class="hd"><h2>Changed in the last {span}</h2><p>{all.length > 7 ? `newest 7 of ${number(all.length)}` : ''}</p></div>
      {!all.length && <p class="note" style="padding:8px 0">Nothing was deployed, opened or closed.</p>}
      <ul class="chg">
        {shown.map((c) => (
          <li key={`${c.ts} ${c.text}`}>
            <span data-tip={clock_utc(c.ts)}>{clock(c.ts)}</span>
            <svg width="12" height="12" viewBox="-6 -6 12 12" role="img" aria-label={c.kind} style="align-self:center"><EventMark kind={c.kind} x={0} y={0} /></svg>
            <span title={c.text}>{c.incident ? <Link to={`/incidents/${c.incident}`}>{c.text}</Link> : c.text}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

// undefined: not known yet; null: this is no demo. It is asked for together with the fleet, so that the bar
// does not push the page down afterwards.
function use_demo(): DemoJson | null | undefined {
  const [demo, set] = useState<DemoJson | null | undefined>(undefined);
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const read = async () => {
      const now = await read_demo();
      if (gone) return;
      set(now);
      if (now) timer = window.setTimeout(read, 5000);
    };
    const late = window.setTimeout(() => set((d) => (d === undefined ? null : d)), 1000);
    void read();
    return () => {
      gone = true;
      clearTimeout(timer);
      clearTimeout(late);
    };
  }, []);
  return demo;
}

function Demo({ demo }: { demo: DemoJson }) {
  const [busy, set_busy] = useState('');
  const press = async (kind: string, title: string) => {
    set_busy(kind);
    try {
      await break_something(kind);
      say(`${title}: done to the invented fleet. Watch what muster makes of it.`);
    } catch (fault) {
      say(`That did not work: ${fault instanceof Failure ? fault.what : String(fault)}`);
    }
    set_busy('');
  };
  return (
    <div class="demo" role="group" aria-label="Demo">
      <span>Demo: invented fleet, seed <b>{demo.seed}</b>. Break something:</span>
      {demo.faults.map((f) => <button key={f.kind} class="chip" disabled={busy === f.kind} onClick={() => void press(f.kind, f.title)}>{f.title}</button>)}
      {demo.active.length > 0 && <span class="q">at work now: {demo.active.map((a) => `${a.kind.replaceAll('_', ' ')} on ${a.target}`).join(', ')}</span>}
      {demo.truth_url && <a class="q" href={demo.truth_url}>what was done</a>}
    </div>
  );
}
