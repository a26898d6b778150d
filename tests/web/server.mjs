// A small stand-in for muster: the built pages and the JSON of an invented fleet, on a free port of loopback.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
// As dashboards/assets.cpp sends it: what works here works there.
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

export function serve(dist, fleet, { demo = null } = {}) {
  const streams = new Set();
  const state = { fleet, refuse: false, demo, posted: [] };
  const send = (event, data) => {
    for (const s of streams) s.write(`event: ${event}\nid: ${fleet.at}.${fleet.version}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const server = createServer(async (request, answer) => {
    const url = new URL(request.url, 'http://x');
    const json = (body, status = 200) => {
      answer.writeHead(status, { 'content-type': 'application/json' });
      answer.end(JSON.stringify(body));
    };
    let body = '';
    for await (const part of request) body += part;
    if (state.refuse && url.pathname.startsWith('/api/')) return json({ error: { code: 'unavailable', where: 'database', what: 'It did not answer within 5 s.', fix: '' } }, 503);
    if (url.pathname === '/api/v1/fleet') return json(fleet.json(url.searchParams.get('parts') ?? ''));
    if (url.pathname === '/api/v1/stream') {
      answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      answer.write('retry: 1000\n\n');
      streams.add(answer);
      request.on('close', () => streams.delete(answer));
      answer.on('close', () => streams.delete(answer));
      return undefined;
    }
    if (url.pathname === '/api/v1/demo') return state.demo ? json(state.demo) : json({ error: { code: 'not_found', where: url.pathname, what: 'This is no demo.', fix: '' } }, 404);
    if (url.pathname === '/api/v1/demo/faults') {
      state.posted.push(JSON.parse(body));
      return json({ accepted: true }, 202);
    }
    if (url.pathname === '/api/v1/incidents') {
      const wanted = url.searchParams.get('state');
      return json({ incidents: [...fleet.open, ...fleet.recent].filter((i) => !wanted || i.state === wanted), next: null });
    }
    const act = url.pathname.match(/^\/api\/v1\/incidents\/([^/]+)(?:\/(\w+))?$/);
    if (act) {
      const [, id, what] = act;
      const found = fleet.detail(id);
      if (!found) return json({ error: { code: 'not_found', where: `incident ${id}`, what: 'There is no such incident.', fix: '' } }, 404);
      if (!what) return json(found);
      const said = JSON.parse(body);
      state.posted.push({ id, what, ...said });
      const i = [...fleet.open, ...fleet.recent].find((x) => x.id === id);
      if (what === 'ack') Object.assign(i, { acked_at: fleet.at, acked_by: said.by });
      if (what === 'unack') Object.assign(i, { acked_at: null, acked_by: '' });
      if (what === 'resolve') Object.assign(i, { state: 'resolved', resolved_at: fleet.at });
      if (what === 'note') fleet.notes.push({ ts: fleet.at, by: said.by, text: said.note });
      send('incident', { id, what });
      return json({ id, what });
    }
    const file = normalize(join(dist, url.pathname));
    const page = file.startsWith(dist) && existsSync(file) && statSync(file).isFile() ? file : join(dist, 'index.html');
    answer.writeHead(200, { 'content-type': types[extname(page)] ?? 'application/octet-stream', 'content-security-policy': policy });
    return createReadStream(page).pipe(answer);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({
        ...state, state, url: `http://127.0.0.1:${server.address().port}`, send,
        tick: () => send('tick', fleet.tick()),
        drop: () => streams.forEach((s) => s.destroy()),
        streams: () => streams.size,
        close: () => {
          streams.forEach((s) => s.destroy());
          server.closeAllConnections();
          server.close();
        },
      });
    });
  });
}
