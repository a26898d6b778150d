// The demo as a newcomer sees it, only faster: its page lives within half a minute, the faults it makes become
// incidents with the right cause, a webhook hears of each once, a browser looks at the pages, and a second start
// goes on where the first stopped.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { check, eventually, json, main, start, temporaryFolder } from './support.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

// A receiver that takes Alertmanager's payload, version 4, and fails the first time, as receivers do.
function webhook() {
  const heard = [];
  let failures = 1;
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (d) => { body += d; });
    request.on('end', () => {
      if (failures-- > 0) return response.writeHead(500).end();
      heard.push({ key: request.headers['idempotency-key'], payload: JSON.parse(body) });
      response.writeHead(200).end();
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () =>
    resolve({ heard, url: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() })));
}

await main({
  async 'a fault becomes one incident with its cause'() {
    const folder = temporaryFolder(), receiver = await webhook();
    const config = `${folder}/muster.yaml`;
    writeFileSync(config, `route: {receiver: on-call, group_wait: 0s, group_interval: 1s}
receivers: [{name: on-call, webhook_configs: [{url: '${receiver.url}'}]}]\n`);
    const demo = (speed) => start(['demo', '--data-dir', `${folder}/data`, '--listen', '127.0.0.1:0', '--config', config, '--speed', String(speed)]);

    const began = Date.now();
    let server = await demo(8);
    await eventually('the page lives: history is learned, ticks come', async () => {
      const { running } = await json(`${server.url}/api/v1/demo`);
      const { learning, coverage } = await json(`${server.url}/api/v1/fleet?parts=core`);
      return running && !learning && coverage.models >= 200;
    }, 120_000);
    console.log(`the page lives after ${((Date.now() - began) / 1000).toFixed(1)} s`);

    // Faults that are over, and what was made of them.
    const faults = await eventually('three faults have come and gone', async () => {
      const truth = await json(`${server.url}/api/v1/demo/truth`);
      const { at } = await json(`${server.url}/api/v1/fleet?parts=core`);
      const over = truth.filter((t) => t.end && t.end < at);
      return over.length >= 3 ? over : null;
    }, 180_000);
    const incidents = (await json(`${server.url}/api/v1/incidents?limit=100`)).incidents;
    let found = 0;
    for (const fault of faults) {
      const during = incidents.filter((i) => i.opened_at >= fault.start && i.opened_at <= fault.end);
      const named = [];
      for (const i of during) {
        // Dependencies with the same dependants cannot be told apart; they are named together.
        const { suspects } = await json(`${server.url}/api/v1/incidents/${i.id}`);
        const best = suspects.filter((s) => s.posterior > 0.9 * suspects[0].posterior).map((s) => s.dependency);
        if (best.includes(fault.root_cause)) named.push(i.id);
      }
      console.log(`${fault.kind} of ${fault.root_cause}: ${during.map((i) => `${i.id} ${i.cause}`).join(', ') || 'nothing'}`);
      found += named.length >= 1;
    }
    check(found >= 2, `${found} of ${faults.length} faults have an incident that names their cause`);

    const refused = await fetch(`${server.url}/api/v1/demo/faults`, { method: 'POST', body: '{"kind":"earthquake"}' });
    check(refused.status === 400, 'a kind of fault that there is not is refused');

    const paged = await eventually('the webhook heard of every page', async () => {
      const { incidents: all } = await json(`${server.url}/api/v1/incidents?limit=100`);
      const pages = all.filter((i) => i.paged).map((i) => i.id);
      const told = new Set(receiver.heard.map((h) => h.payload.alerts[0].labels.incident));
      return pages.length > 0 && pages.every((id) => told.has(id)) ? pages : null;
    });
    check(receiver.heard.every((h) => h.payload.version === '4'), `the payload is version 4; ${paged.length} incidents paged`);
    check(new Set(receiver.heard.map((h) => h.key)).size === receiver.heard.length, 'no notice came twice');

    const [first] = paged;
    const ack = await fetch(`${server.url}/api/v1/incidents/${first}/ack`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"by":"platform on-call","note":"looking"}' });
    const after = await json(`${server.url}/api/v1/incidents/${first}`);
    check(ack.ok ? after.acked_by === 'platform on-call' : ack.status === 409, `an acknowledgement is kept, or refused when the incident is over (${ack.status})`);
    check(after.deliveries.some((d) => d.state === 'delivered'), 'the incident says who was told');

    const looked = spawnSync(process.execPath, [`${root}tests/web/check.mjs`, `${root}build/screenshots/demo`],
      { encoding: 'utf8', env: { ...process.env, MUSTER_URL: server.url, MUSTER_SERVER: '' }, timeout: 240_000 });
    console.log(looked.stdout.split('\n').slice(-8).join('\n'));
    check(looked.status === 0, `a browser finds the pages in order ${looked.status ? looked.stderr : ''}`);

    const { at: stopped } = await json(`${server.url}/api/v1/fleet?parts=core`);
    const { code } = await server.stop();
    check(code === 0, 'SIGTERM ends it with 0');

    server = await demo(8);
    const resumed = await eventually('a second start goes on', async () => {
      const { at } = await json(`${server.url}/api/v1/fleet?parts=core`);
      return at > stopped ? at : null;
    });
    check(resumed - stopped < 86_400_000, 'it goes on where it stood');
    const again = (await json(`${server.url}/api/v1/incidents?limit=100`)).incidents.map((i) => i.id);
    check(new Set(again).size === again.length && incidents.every((i) => again.includes(i.id)), 'the incidents are still there, each once');
    await server.stop();
    receiver.close();
  },
});
