import { useEffect, useState } from 'preact/hooks';

import type { Failure } from './api';
import { days, moment, number } from './format';
import { Glyph } from './glyph';
import type { Fleet } from './fleet_state';

// What a view shows when it has nothing, not yet, or not any more. Each keeps the size of what it stands for.

// After 300 ms, so that a fast answer does not flicker.
export function Loading({ what }: { what: string }) {
  const [shown, show] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => show(true), 300);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="loading" style={{ visibility: shown ? 'visible' : 'hidden' }}>
      <div class="sk" style={{ width: '40%', height: 20 }} />
      <div class="sk" style={{ width: '62%' }} />
      <div class="sk" style={{ width: '55%', height: 190 }} />
      {[18, 14, 20, 12].map((n, i) => (
        <div key={i} class="bar" style={{ gap: 3 }}>{Array.from({ length: n }, (_, j) => <div key={j} class="sk" style={{ width: 24, height: 24 }} />)}</div>
      ))}
      <p class="note" role="status">{shown ? what : ''}</p>
    </div>
  );
}

export function Failed({ failure, again, retry_at }: { failure: Failure; again: () => void; retry_at: number }) {
  const [now, tick] = useState(Date.now());
  useEffect(() => {
    if (!retry_at) return;
    const timer = setInterval(() => tick(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [retry_at]);
  const missing = failure.status === 404;
  return (
    <section class="frame">
      <h1>{missing ? 'There is no such page or incident.' : 'This page could not be read.'}</h1>
      <p class="s">{failure.what} <span class="q">({failure.path}{failure.status ? `, ${failure.status}` : ''})</span></p>
      {!missing && <p class="s">Incidents are found and sent by other parts of muster; they do not need this page.</p>}
      <p class="bar"><button class="btn" onClick={again}>Try again</button>{retry_at > 0 && <span class="note">again by itself in {Math.max(1, Math.ceil((retry_at - now) / 1000))} s</span>}</p>
    </section>
  );
}

export function NoSamples() {
  const host = location.host;
  return (
    <section class="frame">
      <h1>No samples yet.</h1>
      <p class="s">Send the first one:</p>
      <pre tabIndex={0} role="region" aria-label="A first sample with curl">{`echo '{"ts":'$(date +%s000)',"model":"ranker-eu","metric":"latency_p95_ms","value":182}' |
  curl http://${host}/api/v1/samples --data-binary @-`}</pre>
      <p class="s">or point Prometheus here, in <span class="mono">prometheus.yml</span>:</p>
      <pre tabIndex={0} role="region" aria-label="Prometheus remote write">{`remote_write:
  - url: http://${host}/api/v1/write`}</pre>
      <p class="s">This page fills by itself within a tick. Limits, no-data and flat-line findings work from the first minute; pages about many models begin after the fleet has been learned.</p>
    </section>
  );
}

export function Learning({ fleet }: { fleet: Fleet }) {
  return (
    <p class="learn"><Glyph state="learning" size={14} /><span><b>Learning, {days(fleet.learning_days_left)} to go;</b> limits, no-data and flat-line findings work already. No page about many models can leave before that.</span></p>
  );
}

export function NothingWrong({ fleet }: { fleet: Fleet }) {
  const { coverage, recent } = fleet;
  const last = recent[0];
  return (
    <div class="calm">
      <p class="st">
        {fleet.learning ? <><Glyph state="learning" size={14} /> No incident: what is usual is still being learned.</>
          : fleet.static_findings.length ? <>No incident.</>
          : <><Glyph state="ok" size={14} /> Nothing is wrong that muster can see.</>}
      </p>
      <p class="note">
        {number(coverage.reporting)} of {number(coverage.models)} models report.
        {last?.resolved_at ? ` The last incident, ${last.id}, closed ${moment(last.resolved_at, fleet.at)}.` : ''}
      </p>
    </div>
  );
}
