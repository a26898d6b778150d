import './tokens.css';
import './ui.css';
import './pages.css';

import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { FleetPage } from './fleet';
import { IncidentsPage } from './incidents';
import { start } from './live';
import { Link, use_location } from './router';
import { find_models, Shell, show_keys, use_keys, use_title } from './shell';
import { Loading } from './states';

// The incident page brings the chart library with it; the fleet page does not wait for that.
function IncidentLater({ id }: { id: string }) {
  const [page, set] = useState<typeof import('./incident') | null>(null);
  useEffect(() => void import('./incident').then(set), []);
  return page ? <page.IncidentPage key={id} id={id} /> : <Loading what={`Reading ${id}`} />;
}

function NoSuchPage() {
  use_title('There is no such page');
  use_keys({ '/': find_models, '?': show_keys });
  return <section class="frame"><h1>There is no such page.</h1><p class="s"><Link to="/">The fleet</Link> and <Link to="/incidents">the incidents</Link> are where they were.</p></section>;
}

function App() {
  const { path } = use_location();
  const incident = path.match(/^\/incidents\/([^/]+)\/?$/);
  return (
    <Shell path={path} acts={!!incident}>
      {path === '/' ? <FleetPage /> : /^\/incidents\/?$/.test(path) ? <IncidentsPage /> : incident ? <IncidentLater id={decodeURIComponent(incident[1])} /> : <NoSuchPage />}
    </Shell>
  );
}

start();
render(<App />, document.getElementById('app') as HTMLElement);
