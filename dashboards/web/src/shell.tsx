import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { clock, clock_utc, date, duration, is_other_time } from './format';
import { Glyph, Icon } from './glyph';
import { refresh, use_live } from './live';
import { go, href, Link } from './router';
import { toggle_theme } from './theme';

// What stands around every page: the bar, the tabs of a phone, tooltips, toasts and the keys.

const pages = [
  { path: '/', name: 'Fleet', icon: 'M2 2h4v4H2zM8 2h4v4H8zM2 8h4v4H2zM8 8h4v4H8z' },
  { path: '/incidents', name: 'Incidents', icon: 'M7 1.5 13 12.5H1ZM7 5.5v3.2M7 10.4v.4' },
];

export function find_models(): void {
  const focus = () => document.querySelector<HTMLInputElement>('#find-models')?.focus();
  if (location.pathname === '/') return focus();
  go(href('/'));
  requestAnimationFrame(focus);
}

export function Shell({ path, acts, children }: { path: string; acts: boolean; children: ComponentChildren }) {
  const live = use_live();
  const open = live.fleet?.incidents.length ?? 0;
  const current = (p: string) => (p === '/' ? path === '/' : path.startsWith(p)) ? { 'aria-current': 'page' as const } : {};
  const badge = (p: string, said: boolean) => (p === '/incidents' && open ? <i>{said && <span class="vh">open: </span>}{open}</i> : null);
  return (
    <>
      <a class="skip" href="#main">Skip to content</a>
      <header class="top">
        <Link class="brand" to="/" aria-label="muster, fleet page">
          <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
            <g fill="var(--ink-3)"><circle cx="3" cy="4" r="1.7" /><circle cx="10" cy="4" r="1.7" /><circle cx="17" cy="4" r="1.7" /><circle cx="3" cy="10" r="1.7" /><circle cx="17" cy="10" r="1.7" /></g>
            <circle cx="10" cy="14" r="4.6" fill="var(--h-fail)" />
          </svg>
          muster
        </Link>
        <nav aria-label="Main">
          {pages.map((p) => <Link key={p.path} to={p.path} {...current(p.path)}>{p.name}{badge(p.path, true)}</Link>)}
        </nav>
        <span class="sp" />
        <Clock />
        <button class="find" onClick={find_models}>
          <svg width="14" height="14" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="1.4" aria-hidden="true"><circle cx="6" cy="6" r="4.2" /><path d="M9.2 9.2 13 13" /></svg>
          <span>Find models</span><kbd aria-hidden="true">/</kbd>
        </button>
        <button class="ib" onClick={toggle_theme} aria-label="Switch between light and dark">
          <svg width="15" height="15" viewBox="0 0 14 14" aria-hidden="true"><circle cx="7" cy="7" r="5.3" fill="none" stroke="currentColor" stroke-width="1.3" /><path d="M7 1.7a5.3 5.3 0 0 1 0 10.6Z" fill="currentColor" /></svg>
        </button>
      </header>
      <Banner />
      <main id="main" class={`${live.lost_at ? 'old' : ''} ${acts ? 'has-acts' : ''}`}>{children}</main>
      <nav class="tabs" aria-label="Main, phone">
        {pages.map((p) => <Link key={p.path} to={p.path} {...current(p.path)}><Icon path={p.icon} />{p.name}{badge(p.path, false)}</Link>)}
      </nav>
      <Tip />
      <Toast />
      <Keys />
    </>
  );
}

// The clock of the data. When it is another time than the reader's, it says whose time it is.
function Clock() {
  const { fleet, lost_at, received_at } = use_live();
  if (!fleet) return <span class="live off"><span>connecting</span></span>;
  if (!fleet.at) return <span class="live off"><span>waiting for samples</span></span>;
  const other = is_other_time(fleet.at, received_at || Date.now());
  const tip = `Last closed tick ${clock(fleet.at)}, ${date(fleet.at)}.\n${clock_utc(fleet.at)}`;
  return (
    <span class={`live ${lost_at ? 'off' : ''}`} data-tip={other ? `${tip}\nThe fleet's clock is not yours: it is replayed or invented.` : tip}>
      <span>{lost_at ? 'not live, ' : 'live, '}{other ? <>fleet time {clock(fleet.at)}<span class="wide">, {date(fleet.at)}</span></> : clock(fleet.at)}</span>
    </span>
  );
}

// Above every page: what is not as fresh as it looks. Its place is below the bar and it covers nothing.
function Banner() {
  const { fleet, failure, lost_at, retry_at } = use_live();
  const [now, tick] = useState(Date.now());
  useEffect(() => {
    if (!lost_at && !retry_at) return;
    const timer = setInterval(() => tick(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [lost_at, retry_at]);
  if (failure && fleet) {
    return (
      <div class="ban f" role="status"><Glyph state="failing" /><span><b>You look at {clock(fleet.at)}.</b> {failure.what} Incidents are still sent to people; that needs no page.</span>
        <button class="btn" onClick={() => void refresh()}>Try again</button></div>
    );
  }
  if (lost_at && fleet) {
    return (
      <div class="ban" role="status"><Glyph state="watch" /><span><b>You look at {clock(fleet.at)}.</b> Not live since {clock(lost_at)}{now - lost_at > 90_000 ? ` (${duration(now - lost_at)})` : ''}, trying again.</span></div>
    );
  }
  return null;
}

// One tooltip for the page: what [data-tip] says, at the pointer or at the focus.
function Tip() {
  const tip = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const show = (e: Event) => {
      const box = tip.current;
      if (!box) return;
      const target = (e.target as Element | null)?.closest?.<HTMLElement>('[data-tip]');
      if (!target) return box.classList.remove('on');
      box.textContent = target.dataset.tip ?? '';
      const r = target.getBoundingClientRect();
      box.style.left = `${Math.min(Math.max(8, r.left + r.width / 2 - box.offsetWidth / 2), innerWidth - box.offsetWidth - 8)}px`;
      box.style.top = `${r.top - box.offsetHeight - 8 < 4 ? r.bottom + 8 : r.top - box.offsetHeight - 8}px`;
      box.classList.add('on');
    };
    const hide = (e: KeyboardEvent) => e.key === 'Escape' && tip.current?.classList.remove('on');
    document.addEventListener('pointerover', show);
    document.addEventListener('focusin', show);
    document.addEventListener('keydown', hide);
    return () => {
      document.removeEventListener('pointerover', show);
      document.removeEventListener('focusin', show);
      document.removeEventListener('keydown', hide);
    };
  }, []);
  return <div id="tip" ref={tip} aria-hidden="true" />;
}

interface ToastText { text: string; undo?: () => void }
let show_toast: (t: ToastText | null) => void = () => undefined;
export const say = (text: string, undo?: () => void) => show_toast({ text, undo });

// The result of an own act, with ten seconds to take it back.
function Toast() {
  const [toast, set] = useState<ToastText | null>(null);
  show_toast = set;
  useEffect(() => {
    if (!toast) return;
    const timer = setTimeout(() => set(null), 10_000);
    return () => clearTimeout(timer);
  }, [toast]);
  return (
    <div class="toasts" role="status">
      {toast && (
        <div class="toast"><span>{toast.text}</span>
          {toast.undo && <button onClick={() => { toast.undo?.(); set(null); }}>Undo</button>}</div>
      )}
    </div>
  );
}

const keys: [string, string][] = [
  ['/', 'find models'],
  ['J K', 'next, previous incident'],
  ['A', 'acknowledge the incident'],
  ['N', 'add a note'],
  ['R', 'resolve the incident'],
  ['T', 'the numbers behind a chart'],
  ['← →', 'walk the cells of the sheet; Enter opens'],
  ['?', 'this list'],
];

let open_keys: () => void = () => undefined;
export const show_keys = () => open_keys();

function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  open_keys = () => dialog.current?.showModal();
  return (
    <dialog ref={dialog} class="ask" aria-labelledby="keys-h">
      <h2 id="keys-h">Keys</h2>
      <dl class="keys">{keys.map(([k, what]) => <><dt>{k.split(' ').map((x) => <kbd>{x}</kbd>)}</dt><dd>{what}</dd></>)}</dl>
      <form method="dialog" class="bar end"><button class="btn">Close</button></form>
    </dialog>
  );
}

// Calls `act` for a key that is not typed into a field and has no modifier.
export function use_keys(map: Record<string, () => void>) {
  const now = useRef(map);
  now.current = map;
  // With the page itself: a key that is pressed right after it shows must not be lost.
  useLayoutEffect(() => {
    const press = (e: KeyboardEvent) => {
      if (e.metaKey || e.ctrlKey || e.altKey || document.querySelector('dialog[open]')) return;
      const target = e.target as HTMLElement;
      if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      const act = now.current[e.key.length === 1 ? e.key.toLowerCase() : e.key];
      if (!act) return;
      e.preventDefault();
      act();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}

// A page's finding is also the tab's title.
export function use_title(finding: string) {
  useEffect(() => {
    document.title = `${finding} \u00b7 muster`;
  }, [finding]);
}

// The width of an element, as it is now.
export function use_width<T extends Element>(): [preact.RefObject<T>, number] {
  const ref = useRef<T>(null);
  const [width, set] = useState(0);
  useEffect(() => {
    const el = ref.current;
    if (!el) return;
    const measure = () => set(Math.floor(el.getBoundingClientRect().width));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(el);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
