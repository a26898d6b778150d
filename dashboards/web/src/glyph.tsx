import type { Mark } from './sheet';
import type { ModelState } from './types';
import type { Tone } from './words';

// Each state has its own shape; colour only repeats it.
const shapes: Record<ModelState, preact.JSX.Element> = {
  ok: <circle cx="6" cy="6" r="4.2" fill="none" stroke="var(--t-ok)" stroke-width="1.5" />,
  watch: <circle cx="6" cy="6" r="4.6" fill="var(--h-watch)" stroke="var(--t-watch)" stroke-width="1.2" />,
  degraded: <path d="M6 .8 11.6 11H.4Z" fill="var(--h-degr)" stroke="var(--t-degr)" stroke-width=".8" stroke-linejoin="round" />,
  failing: (
    <>
      <rect x="1.2" y="1.2" width="9.6" height="9.6" rx="1" fill="var(--h-fail)" />
      <path d="M3.7 3.7l4.6 4.6M8.3 3.7 3.7 8.3" stroke="var(--on-fail)" stroke-width="1.5" />
    </>
  ),
  learning: <circle cx="6" cy="6" r="4.4" fill="none" stroke="var(--ink-3)" stroke-width="1.4" stroke-dasharray="2.4 1.8" />,
  silent: <path d="M1.5 6h9" stroke="var(--ink-3)" stroke-width="2" />,
  muted: (
    <>
      <circle cx="6" cy="6" r="4.4" fill="none" stroke="var(--ink-3)" stroke-width="1.3" />
      <path d="M3 9 9 3" stroke="var(--ink-3)" stroke-width="1.3" />
    </>
  ),
};

const of_tone: Record<Tone, ModelState> = { fail: 'failing', degr: 'degraded', watch: 'watch', ok: 'ok' };

export function Glyph({ state, size = 12 }: { state: ModelState | Tone; size?: number }) {
  const shape = shapes[(of_tone as Record<string, ModelState>)[state] ?? (state as ModelState)];
  return <svg class="g" style={{ width: size, height: size }} viewBox="0 0 12 12" aria-hidden="true">{shape}</svg>;
}

const marks: Record<Mark['kind'], string> = {
  deploy: 'M0-4.5 4.5 3.5H-4.5Z',
  data: 'M-3.8-3.8H3.8V3.8H-3.8Z',
  package: 'M0-5 5 0 0 5-5 0Z',
  page: 'M-4-5H4V1L0 5-4 1Z',
  retrain: 'M0-4.5A4.5 4.5 0 1 1-.01-4.5Z',
  fleet: 'M-5-1.5H5V1.5H-5Z',
};

export function EventMark({ kind, x, y }: { kind: Mark['kind']; x: number; y: number }) {
  const colour = kind === 'page' ? 'var(--t-fail)' : 'var(--ink-2)';
  return <path d={marks[kind]} transform={`translate(${x} ${y})`} fill={colour} stroke={colour} stroke-width="1.2" />;
}

export function Icon({ path }: { path: string }) {
  return (
    <svg width="18" height="18" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}
