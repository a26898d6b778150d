import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { multiple_from, ordered, strongest, type AffectedOrder } from './affected';
import { act, Failure, read_incident, type Act } from './api';
import { Evidence, EvidenceNumbers, FailurePath } from './evidence';
import { ago, clock, clock_utc, count, date, is_other_time, moment, number, odds } from './format';
import { on_incident, show_ack, use_live } from './live';
import { AffectedTable, Multiple } from './multiples';
import { go, href, Link, set_query, use_location } from './router';
import { find_models, say, show_keys, use_keys, use_title, use_width } from './shell';
import { Failed, Loading } from './states';
import type { Incident, Suspect } from './types';
import { bare, emphasised, percent, probability, standing, status_words, tone_of } from './words';

// An act is logged under a role, not a person's name.
const role = () => {
  try {
    return localStorage.getItem('muster-role') || 'on-call';
  } catch {
    return 'on-call';
  }
};

export function IncidentPage({ id }: { id: string }) {
  const [incident, set] = useState<Incident | null>(null);
  const [failure, fail] = useState<Failure | null>(null);
  const [tries, again] = useState(0);
  const { fleet } = use_live();
  const updated = fleet?.incidents.find((i) => i.id === id)?.updated_at ?? 0;

  useEffect(() => {
    let gone = false;
    let busy = false;
    let dirty = false;
    // News that comes while we read makes one more reading, not one each.
    const read = async () => {
      if (busy) {
        dirty = true;
        return;
      }
      busy = true;
      try {
        const now = await read_incident(id);
        if (!gone) {
          set(now);
          fail(null);
        }
      } catch (fault) {
        if (!gone) fail(fault instanceof Failure ? fault : new Failure(0, String(fault), location.pathname));
      }
      busy = false;
      if (dirty && !gone) {
        dirty = false;
        void read();
      }
    };
    void read();
    const stop = on_incident((news) => news.id === id && void read());
    return () => {
      gone = true;
      stop();
    };
  }, [id, tries]);

  // The evidence grows with each tick; it is read again at most every two seconds.
  const last = useRef(0);
  useEffect(() => {
    if (!incident || updated <= incident.updated_at) return;
    const wait = Math.max(0, last.current + 2000 - Date.now());
    const timer = setTimeout(() => {
      last.current = Date.now();
      read_incident(id).then(set, () => undefined);
    }, wait);
    return () => clearTimeout(timer);
  }, [updated, incident]);

  if (incident && incident.id === id) return <Whole incident={incident} set={set} />;
  if (failure) return <Failed failure={failure} again={() => again(tries + 1)} retry_at={0} />;
  return <Loading what={`Reading ${id}`} />;
}

function Whole({ incident: i, set }: { incident: Incident; set: (i: Incident) => void }) {
  const { fleet } = use_live();
  const { query } = use_location();
  const now = Math.max(fleet?.at ?? 0, i.updated_at);
  const latest = useRef(i);
  latest.current = i;
  const [asking, ask] = useState<'note' | 'resolve' | null>(null);
  const [numbers, show_numbers] = useState(false);
  use_title(`${i.id}: ${i.title}`);

  const failed = (what: string, fault: unknown) => say(`${i.id} could not be ${what}: ${fault instanceof Failure ? fault.what : String(fault)}`);
  const take = async (back: boolean) => {
    const before = latest.current;
    const acked = back ? { acked_at: null, acked_by: '' } : { acked_at: now, acked_by: role() };
    set({ ...before, ...acked });
    show_ack(i.id, acked.acked_at, acked.acked_by);
    try {
      await act(i.id, back ? 'unack' : 'ack', role());
      if (back) say(`${i.id} is not acknowledged any more.`);
      else say(`${i.id} acknowledged.`, () => void take(true));
    } catch (fault) {
      set({ ...latest.current, acked_at: before.acked_at, acked_by: before.acked_by });
      show_ack(i.id, before.acked_at, before.acked_by);
      failed(back ? 'taken back' : 'acknowledged', fault);
    }
  };
  const tell = async (what: Act, text: string) => {
    ask(null);
    try {
      await act(i.id, what, role(), text);
      if (what === 'note') set({ ...latest.current, notes: [...latest.current.notes, { ts: now, by: role(), text }] });
      else set({ ...latest.current, state: 'resolved', resolved_at: now });
      say(what === 'note' ? 'Note added.' : `${i.id} resolved.`);
      set(await read_incident(i.id));
    } catch (fault) {
      failed(what === 'note' ? 'noted upon' : 'resolved', fault);
    }
  };
  const open = i.state === 'open';
  const step = (by: number) => {
    const list = fleet?.incidents ?? [];
    if (!list.length) return;
    const at = list.findIndex((x) => x.id === i.id);
    const next = list[at < 0 ? 0 : (at + by + list.length) % list.length];
    if (next.id !== i.id) go(href(`/incidents/${next.id}`));
  };
  use_keys({
    a: () => open && (i.acked_at === null ? void take(false) : say(`${i.id} is acknowledged already.`)),
    n: () => ask('note'),
    r: () => open && ask('resolve'),
    j: () => step(1),
    k: () => step(-1),
    t: () => show_numbers(!numbers),
    '/': find_models,
    '?': show_keys,
  });

  const stand = standing(i, now);
  const tone = tone_of(i);
  return (
    <>
      <div class={`head ${open ? '' : 'past'}`}>
        <div>
          <p class="crumb"><Link to="/incidents">Incidents</Link> / <span class="mono">{i.id}</span> <span class={`tag ${open ? (tone === 'fail' ? 'fail' : tone === 'degr' ? 'degr' : 'watch') : 'ok'}`}>{status_words(i)}</span>
            <span data-tip={clock_utc(i.opened_at)}>since {moment(i.opened_at, now)}, {ago(i.opened_at, now)}</span></p>
          <h1>{emphasised(i.title, i.cause).map((p) => (p.kind === 'cause' ? <em>{p.text}</em> : p.text))}</h1>
          {i.first_look && <p class="lede">{emphasised(i.first_look, i.cause).map((p) => (p.kind ? <b>{p.text}</b> : p.text))}</p>}
          {i.why && <p class="lede why">{i.why}</p>}
        </div>
        <div class={`clock ${stand.tone}`}><b>{stand.head}</b><p>{stand.text}</p></div>
      </div>
      <div class="acts" role="toolbar" aria-label="Actions">
        {open && (i.acked_at === null
          ? <button class="btn pri" onClick={() => void take(false)} aria-keyshortcuts="a">Acknowledge <kbd aria-hidden="true">A</kbd></button>
          : <button class="btn" onClick={() => void take(true)}>Take back acknowledgement</button>)}
        <button class="btn" onClick={() => ask('note')} aria-keyshortcuts="n">Note <kbd aria-hidden="true">N</kbd></button>
        {open && <button class="btn" onClick={() => ask('resolve')} aria-keyshortcuts="r">Resolve <kbd aria-hidden="true">R</kbd></button>}
        <span class="note keys-hint"><kbd>J</kbd> <kbd>K</kbd> next, previous &nbsp; <button class="plain" onClick={show_keys}><kbd>?</kbd> all keys</button></span>
      </div>
      <div class="cols">
        <div>
          <section aria-label="Evidence">
            <div class="hd"><h2>{i.paged ? 'How it came to a page' : 'The evidence'}</h2><p>evidence reached {odds(i.evidence)} against {'\u2018'}nothing changed{'\u2019'}; this group needs {odds(i.needed)}</p></div>
            <Evidence incident={i} />
            <EvidenceNumbers incident={i} open={numbers} toggle={show_numbers} />
          </section>
          <Suspects of={i.suspects} />
        </div>
        <div>
          <Log incident={i} now={now} />
          <Path incident={i} />
        </div>
      </div>
      <AffectedModels incident={i} now={now} order={(query.get('order') as AffectedOrder) || 'strength'} />
      {asking && <Ask what={asking} incident={i} close={() => ask(null)} done={(text) => void tell(asking, text)} />}
    </>
  );
}

function Suspects({ of }: { of: Suspect[] }) {
  const [box, width] = use_width<HTMLDivElement>();
  const phone = width > 0 && width < 560;
  const full = phone ? 74 : 110;
  return (
    <section aria-label="Suspects">
      <div class="hd"><h2>Suspects</h2><p>chance that each is the one cause, given all series; all candidates sum to 1</p></div>
      <div class="scroll" ref={box}>
        {!of.length && <p class="note">No suspect stands out.</p>}
        {of.length > 0 && (
          <table class="sus">
            <thead><tr><th>Suspect</th><th style="width:170px">Posterior</th><th class="num">Shifted</th><th style="width:104px" class="hidep">Explains</th></tr></thead>
            <tbody>
              {of.map((s, k) => (
                <tr key={s.dependency} class={k ? '' : 'best'}>
                  <td><b>{bare(s.dependency)}</b> <span class="q nb">{s.kind.replaceAll('_', ' ')}</span><p class="why">{s.why}</p></td>
                  <td>
                    <svg width={full + 44} height="16" role="img" aria-label={`posterior ${s.posterior.toFixed(2)}`}>
                      <rect y="4" width={full} height="8" fill="var(--sunken)" /><rect y="4" width={Math.max(1.5, full * s.posterior)} height="8" fill={k ? 'var(--ink-3)' : 'var(--h-fail)'} />
                      <text class={k ? 'in' : 'in b'} x={full + 8} y="12" style="font-size:12px">{probability(s.posterior)}</text>
                    </svg>
                  </td>
                  <td class="num nb">{number(s.moved)}{'\u2009'}/{'\u2009'}{number(s.members)}</td>
                  <td class="hidep">
                    <svg width="104" height="16" role="img" aria-label={`explains ${percent(s.explained)}`}>
                      <rect y="6.5" width="60" height="3" fill="var(--sunken)" /><rect y="6.5" width={60 * Math.min(1, Math.max(0, s.explained))} height="3" fill="var(--series)" />
                      <text class="in2" x="66" y="12" style="font-size:12px">{percent(s.explained)}</text>
                    </svg>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </section>
  );
}

interface LogLine { ts: number; mark: 'done' | 'wait' | 'no' | 'failed'; head: preact.ComponentChildren; text: string }

// Who was told and what people did, newest first.
function Log({ incident: i, now }: { incident: Incident; now: number }) {
  const lines: LogLine[] = i.deliveries.map((d) => ({
    ts: d.ts,
    mark: d.state === 'delivered' || d.state === 'sent' ? 'done' : d.state === 'due' || d.state === 'sending' || d.state === 'pending' ? 'wait' : d.state === 'failed' ? 'failed' : 'no',
    head: <><b>{d.receiver}</b>, {d.channel}</>,
    text: [d.state, d.answer].filter(Boolean).join(': '),
  }));
  for (const n of i.notes) lines.push({ ts: n.ts, mark: 'done', head: <><b>{n.by || 'somebody'}</b> noted</>, text: n.text });
  if (i.acked_at !== null) lines.push({ ts: i.acked_at, mark: 'done', head: <b>Acknowledged</b>, text: i.acked_by ? `by ${i.acked_by}` : '' });
  if (i.resolved_at !== null) lines.push({ ts: i.resolved_at, mark: 'done', head: <b>Resolved</b>, text: '' });
  lines.push({ ts: i.opened_at, mark: 'done', head: <b>Opened{i.paged ? ' and paged' : ''}</b>, text: i.paged ? '' : 'below the line of a page: shown here, sent to nobody\u2019s pager' });
  lines.sort((a, b) => b.ts - a.ts);
  // People and deliveries keep their own clock, which is another one when the fleet's is replayed or invented.
  const aside = (ts: number) => (Math.abs(ts - now) < 43_200_000 ? '' : is_other_time(now, ts) && ts > now ? `${date(ts)}, by the clock on the wall` : date(ts));
  return (
    <section aria-label="Who was told">
      <div class="hd"><h2>Who was told, what was done</h2></div>
      <ul class="log">
        {lines.map((l, k) => (
          <li key={k}>
            <time data-tip={clock_utc(l.ts)} dateTime={new Date(l.ts).toISOString()}>{clock(l.ts)}</time>
            <svg width="12" height="12" aria-hidden="true">
              {l.mark === 'done' && <circle cx="6" cy="6" r="4" fill="var(--ink-2)" />}
              {l.mark === 'wait' && <circle cx="6" cy="6" r="3.5" fill="none" stroke="var(--t-fail)" stroke-width="1.8" />}
              {(l.mark === 'no' || l.mark === 'failed') && <path d="M2.5 2.5l7 7M9.5 2.5l-7 7" stroke={l.mark === 'no' ? 'var(--ink-3)' : 'var(--t-fail)'} stroke-width="1.5" />}
            </svg>
            <span>{l.head}{[l.text, aside(l.ts)].filter(Boolean).map((t) => <small>{t}</small>)}</span>
          </li>
        ))}
        {!i.deliveries.length && i.paged && <li><time /><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="3.5" fill="none" stroke="var(--t-fail)" stroke-width="1.8" /></svg><span>No delivery is recorded yet.</span></li>}
      </ul>
    </section>
  );
}

function Path({ incident: i }: { incident: Incident }) {
  const { fleet } = use_live();
  const families = useMemo(() => {
    const hit = new Set(i.models);
    const of = new Map<string, { name: string; hit: number; of: number }>();
    for (const m of fleet?.models ?? []) {
      const f = of.get(m.family) ?? { name: m.family || 'no family', hit: 0, of: 0 };
      f.of++;
      if (hit.has(m.id)) f.hit++;
      of.set(m.family, f);
    }
    return [...of.values()].filter((f) => f.hit).sort((a, b) => b.hit / b.of - a.hit / a.of || b.hit - a.hit);
  }, [i.models, fleet?.models.length]);
  if (!families.length || i.cause_kind === 'model' || i.cause === 'unknown') return null;
  return (
    <section aria-label="Path">
      <div class="hd"><h2>Where it is seen</h2><p>models that shifted, by family</p></div>
      <FailurePath incident={i} families={families} />
    </section>
  );
}

function AffectedModels({ incident: i, now, order }: { incident: Incident; now: number; order: AffectedOrder }) {
  const { fleet } = use_live();
  const [all, show_all] = useState(false);
  const models = useMemo(() => new Map(fleet?.models.map((m) => [m.id, m]) ?? []), [fleet?.models]);
  const lines = ordered(strongest(i.affected), order, models);
  const drawn = lines.filter((a) => a.ts && a.ts.length > 1);
  const rest = lines.filter((a) => !a.ts || a.ts.length < 2);
  const first = drawn.slice(0, 12);
  const others = lines.length - first.length;
  const from = multiple_from(drawn);
  const words = { strength: 'strongest first', onset: 'earliest first', team: 'by team' }[order] ?? 'strongest first';
  return (
    <section aria-label="Affected models">
      <div class="hd"><h2>{count(i.models.length || lines.length, 'affected model')}, {words}</h2>
        <p>{number(i.expected_by_chance, 1)} of {number(i.members)} would look like this by chance. Line: metric; band: what is usual at this hour (95 %); dashes: first out of band.</p>
        <span class="r seg" role="group" aria-label="Order">
          {(['strength', 'onset', 'team'] as const).map((o) => <button key={o} aria-pressed={order === o} onClick={() => set_query({ order: o === 'strength' ? null : o })}>{{ strength: 'Strength', onset: 'Onset', team: 'Team' }[o]}</button>)}
        </span></div>
      <div class="sm">{(all ? drawn : first).map((a) => <Multiple key={a.model} of={a} from={from} />)}</div>
      {all && rest.length > 0 && <AffectedTable of={rest} now={now} />}
      <p style="margin-top:16px" class="bar">
        {others > 0 && <button class="btn" aria-expanded={all} onClick={() => show_all(!all)}>{all ? 'Show the strongest alone' : `Show the other ${number(others)}`}</button>}
        {i.members > i.moved && <span class="note">{calm_members(i)}</span>}
      </p>
    </section>
  );
}

function calm_members(i: Incident): string {
  const n = i.members - i.moved;
  const shares = ['unknown', 'model', 'family'].includes(i.cause_kind) || i.cause === 'unknown' ? '' : n === 1 ? `uses ${bare(i.cause)} and ` : `use ${bare(i.cause)} and `;
  return `${count(n, 'more model')} ${shares}${n === 1 ? 'is inside its band' : 'are inside their bands'}.`;
}

// A note needs words; resolving without recovery asks first and says what will follow.
function Ask({ what, incident: i, close, done }: { what: 'note' | 'resolve'; incident: Incident; close: () => void; done: (text: string) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const text = useRef<HTMLTextAreaElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const send = (e: Event) => {
    e.preventDefault();
    const words = text.current?.value.trim() ?? '';
    if (what === 'resolve' || words) done(words);
  };
  return (
    <dialog ref={dialog} class="ask" aria-labelledby="ask-h" onClose={close}>
      <form onSubmit={send}>
        <h2 id="ask-h">{what === 'note' ? `Note on ${i.id}` : `Resolve ${i.id}?`}</h2>
        {what === 'resolve' && <p>{bare(i.cause)} still has {number(i.moved)} of {number(i.members)} models out of band. If they stay there, a new incident opens when the evidence is strong enough again. Those who were told hear that it is resolved.</p>}
        <label>{what === 'note' ? 'What should the next one know?' : 'What was done (may be empty)'}
          <textarea ref={text} rows={4} maxLength={4000} required={what === 'note'} /></label>
        <div class="bar end"><button type="button" class="btn" onClick={() => dialog.current?.close()}>Cancel</button><button class="btn pri">{what === 'note' ? 'Add the note' : 'Resolve'}</button></div>
      </form>
    </dialog>
  );
}
