import { useEffect, useState } from 'preact/hooks';

import { Failure, read_incidents } from './api';
import { count } from './format';
import { IncidentLine } from './fleet';
import { on_incident, use_live } from './live';
import { set_query, use_location } from './router';
import { find_models, show_keys, use_keys, use_title } from './shell';
import { Failed, Loading } from './states';
import type { IncidentSummary } from './types';

const filters = [
  { state: '', name: 'All' },
  { state: 'open', name: 'Open' },
  { state: 'resolved', name: 'Resolved' },
];

// Every incident, newest first.
export function IncidentsPage() {
  const { fleet } = use_live();
  const { query } = use_location();
  const state = query.get('state') ?? '';
  const [list, set_list] = useState<IncidentSummary[] | null>(null);
  const [next, set_next] = useState<string | null>(null);
  const [failure, fail] = useState<Failure | null>(null);
  const [tries, again] = useState(0);
  use_keys({ '/': find_models, '?': show_keys });

  useEffect(() => {
    let gone = false;
    const read = () =>
      read_incidents(state, null).then(
        (page) => {
          if (gone) return;
          set_list(page.incidents);
          set_next(page.next);
          fail(null);
        },
        (fault) => !gone && fail(fault instanceof Failure ? fault : new Failure(0, String(fault), '/api/v1/incidents')),
      );
    void read();
    const stop = on_incident(() => void read());
    return () => {
      gone = true;
      stop();
    };
  }, [state, tries]);

  const more = async () => {
    const page = await read_incidents(state, next);
    set_list([...(list ?? []), ...page.incidents]);
    set_next(page.next);
  };

  const open = list?.filter((i) => i.state === 'open').length ?? 0;
  const shown = `${count(list?.length ?? 0, 'incident')}${next ? ' and more' : ''}`;
  const finding = !list ? 'Incidents' : !list.length ? (state ? `No ${state} incident` : 'No incident yet') : state ? `${shown}, ${state}` : `${shown}, ${open} open`;
  use_title(finding);
  if (failure && !list) return <Failed failure={failure} again={() => again(tries + 1)} retry_at={0} />;
  if (!list) return <Loading what="Reading incidents" />;
  const now = fleet?.at || Math.max(0, ...list.map((i) => i.updated_at));
  return (
    <>
      <div class="bar list-h">
        <h1>{finding}</h1><span style="flex:1" />
        <div class="seg" role="group" aria-label="State">
          {filters.map((f) => <button key={f.state} aria-pressed={f.state === state} onClick={() => set_query({ state: f.state || null }, false)}>{f.name}</button>)}
        </div>
      </div>
      <div class="inc-list" style="border-top:1px solid var(--line)">
        {list.map((i) => <IncidentLine key={i.id} incident={i} now={now} />)}
        {!list.length && <p class="s" style="padding:16px 0">{state ? 'None is in this state.' : 'When many models move for one cause, the cause is listed here once.'}</p>}
      </div>
      {next && <p style="margin-top:12px"><button class="btn" onClick={() => void more()}>Show more</button></p>}
    </>
  );
}
