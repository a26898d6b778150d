// kill -9 of muster and an immediate stop of its PostgreSQL while senders are at work: every acknowledged sample is
// stored exactly once, and a sample that was never acknowledged is stored once after its sender repeats it. The same
// on a disk that is full for a while, and when hundreds of connections repeat themselves after an outage.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { check, eventually, json, main, post, serve, temporaryFolder } from './support.mjs';

const senders = 4, models = 8, metrics = 3;
const first = Date.UTC(2026, 0, 5);

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql],
    { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trim();
}

// How many samples the log holds, how many (set, instant) they stand in, and how many of those are different: a set
// comes whole here, so nothing is there twice when the last two are equal. Quicker than the view by far.
const logged = (folder) => psql(folder, `SELECT sum(n), count(*), count(DISTINCT (s, t)) FROM (
  SELECT u.s, l.ts + coalesce(l.ts_off[u.i], 0) * interval '1 microsecond' AS t, coalesce(u.n, cardinality(l.vals)) AS n
  FROM sample_log l, unnest(l.set_ids, l.counts) WITH ORDINALITY AS u (s, n, i)) x`).split('|').map(Number);

// A sender owns its models, so that "how many were acknowledged" is exact for each of them.
function lines(sender, round) {
  let text = '';
  for (let m = 0; m < models; ++m)
    for (let k = 0; k < metrics; ++k)
      text += JSON.stringify({ ts: first + round * 60_000, model: `s${sender}-m${m}`, metric: `k${k}`, value: round + k / 10 }) + '\n';
  return text;
}

await main({
  async 'acknowledged is stored exactly once'() {
    const folder = temporaryFolder();
    let server = await serve(folder);
    let url = server.url;
    let running = true;
    const acknowledged = new Array(senders).fill(0), repeats = new Array(senders).fill(0);

    const loops = Array.from({ length: senders }, async (_, s) => {
      for (let round = 0; running; ++round) {
        // The url changes when muster comes back on another port; a round is repeated until it is taken.
        for (;;) {
          try {
            const { status, body, tries } = await post(url, lines(s, round), { tries: 1 });
            if (status !== 200) throw Object.assign(new Error(`status ${status}: ${JSON.stringify(body)}`), { fatal: true });
            if (body.accepted + body.duplicates !== models * metrics)
              throw Object.assign(new Error(`round ${round}: ${JSON.stringify(body)}`), { fatal: true });
            repeats[s] += tries - 1;
            break;
          } catch (fault) {
            if (fault.fatal) throw fault;
            ++repeats[s];
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
        acknowledged[s] = round + 1;
      }
    });
    const failed = Promise.all(loops).catch((fault) => { running = false; return fault; });
    const progress = (n) => eventually(`${n} more rounds of each sender`, () => acknowledged.every((a, s) => a >= base[s] + n));
    let base = [...acknowledged];

    for (let kill = 0; kill < 3; ++kill) {
      base = [...acknowledged];
      await progress(5);
      await server.kill();
      server = await serve(folder);
      url = server.url;
    }
    for (let stop = 0; stop < 3; ++stop) {
      base = [...acknowledged];
      await progress(5);
      const postmaster = Number(readFileSync(`${folder}/postgres/data/postmaster.pid`, 'utf8').split('\n')[0]);
      process.kill(postmaster, 'SIGQUIT');  // PostgreSQL's immediate shutdown
    }
    base = [...acknowledged];
    await progress(5);
    running = false;
    const fault = await failed;
    if (fault instanceof Error) throw fault;
    check(repeats.some((n) => n > 0), `senders had to repeat themselves (${repeats.join(', ')} times), so the crashes hit them`);

    for (let s = 0; s < senders; ++s) {
      const found = psql(folder, `SELECT count(*), count(DISTINCT (model, metric, ts)), coalesce(sum(value), 0) FROM v_sample_recent WHERE model LIKE 's${s}-%'`);
      let sum = 0;
      for (let r = 0; r < acknowledged[s]; ++r) for (let k = 0; k < metrics; ++k) sum += models * (r + k / 10);
      const [rows, distinct, total] = found.split('|').map(Number);
      const expected = acknowledged[s] * models * metrics;
      check(rows === expected && distinct === expected, `sender ${s}: ${expected} acknowledged samples, ${rows} stored, ${distinct} of them different`);
      check(Math.abs(total - sum) < 1e-6 * sum, `sender ${s}: their values add up to what was sent`);
    }
    await eventually('ready again after the last stop', async () => {
      const answer = await fetch(`${server.url}/-/ready`);
      if (answer.status !== 200) throw new Error(await answer.text());
      return true;
    });
    await json(`${server.url}/api/v1/fleet?parts=core`);
    const { code } = await server.stop();
    check(code === 0, 'SIGTERM ends it with 0');
  },

  async 'a full disk is told, and everything goes on when there is room'() {
    const folder = temporaryFolder();
    const disk = `${folder}/disk`;
    mkdirSync(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=400m,mode=0755', 'muster-e2e', disk], { encoding: 'utf8' });
    if (mounted.status !== 0) {
      console.log(`skip a small disk cannot be mounted here: ${(mounted.stderr || String(mounted.error)).trim()}`);
      return;
    }
    const unmount = () => spawnSync('umount', ['-l', disk]);
    process.prependListener('exit', unmount);  // before its folder is removed
    const data = `${disk}/data`;
    const server = await serve(data);
    const rows = (round) => {
      let text = '';
      for (let m = 0; m < 100; ++m)
        for (let k = 0; k < 10; ++k)
          text += JSON.stringify({ ts: first + round * 60_000, model: `disk-m${m}`, metric: `k${k}`, value: round + k / 10 }) + '\n';
      return text;
    };
    let acknowledged = 0, refusals = 0, running = true;
    const statuses = new Set();
    const sender = (async () => {
      for (let round = 0; running; ++round) {
        const text = rows(round);
        for (;;) {
          const answer = await fetch(`${server.url}/api/v1/samples`, { method: 'POST', body: text });
          const body = await answer.text();
          statuses.add(answer.status);
          if (answer.status === 200) {
            const { accepted, duplicates } = JSON.parse(body);
            if (accepted + duplicates !== 1000) throw new Error(`round ${round}: ${body}`);
            break;
          }
          ++refusals;
          if (!answer.headers.get('retry-after')) throw new Error(`${answer.status} without Retry-After: ${body}`);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        acknowledged = round + 1;
      }
    })().catch((fault) => { running = false; return fault; });

    await eventually('a few rounds', () => acknowledged >= 5);
    const ballast = openSync(`${disk}/ballast`, 'w');
    const block = Buffer.alloc(1 << 20);
    const fill = () => { try { for (;;) writeSync(ballast, block); } catch (fault) { if (fault.code !== 'ENOSPC') throw fault; } };
    // What PostgreSQL frees meanwhile is taken too.
    await eventually('senders hear of the full disk', () => { fill(); return refusals >= 20; }, 60_000);
    const before = acknowledged;
    closeSync(ballast);
    rmSync(`${disk}/ballast`);
    await eventually('it goes on', () => acknowledged >= before + 10, 60_000);
    running = false;
    const fault = await sender;
    if (fault instanceof Error) throw fault;
    check([...statuses].every((status) => status === 200 || status === 503), `answers were 200 or 503 (${[...statuses].join(', ')})`);
    const [stored, places, distinct] = logged(data);
    check(stored === acknowledged * 1000 && places === acknowledged * 100 && distinct === places,
      `${acknowledged * 1000} acknowledged samples, ${stored} stored, none twice; ${refusals} times refused`);
    const { code } = await server.stop();
    check(code === 0, 'SIGTERM ends it with 0');
    unmount();
  },

  async 'hundreds of connections repeat themselves after an outage'() {
    const folder = temporaryFolder();
    const server = await serve(folder);
    const connections = 300, series = 200;
    const text = (c) => {
      let out = '';
      for (let k = 0; k < series; ++k)
        out += JSON.stringify({ ts: first + c * 1000, model: `storm-m${k % 20}`, metric: `k${Math.floor(k / 20)}`, value: c }) + '\n';
      return out;
    };
    const postmaster = Number(readFileSync(`${folder}/postgres/data/postmaster.pid`, 'utf8').split('\n')[0]);
    process.kill(postmaster, 'SIGQUIT');
    let tries = 0, most = 0;
    // Each request twice at the same time, as after a time-out of which the server knows nothing.
    const storm = Promise.all(Array.from({ length: 2 * connections }, async (_, c) => {
      const done = await post(server.url, text(c % connections));
      tries += done.tries;
      if (done.status !== 200 || done.body.accepted + done.body.duplicates !== series) throw new Error(JSON.stringify(done));
      return done.body.accepted;
    }));
    let over = false;
    const watch = (async () => {
      while (!over) {
        const metrics = await (await fetch(`${server.url}/metrics`)).text();
        most = Math.max(most, Number(metrics.match(/^process_resident_memory_bytes (\S+)/m)[1]));
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    const accepted = (await storm).reduce((sum, n) => sum + n, 0);
    over = true;
    await watch;
    check(tries > 2 * connections, `the outage was noticed: ${tries} tries of ${2 * connections} requests`);
    check(most < 1 << 30, `at most ${Math.round(most / (1 << 20))} MiB were in memory`);
    const [stored, places, distinct] = logged(folder);
    check(stored === connections * series && places === connections * 20 && distinct === places,
      `${connections * series} samples sent again and again, ${stored} stored, none twice (${accepted} said to be new)`);
    const page = await json(`${server.url}/api/v1/ingest`);
    check(page.memory.queue_bytes === 0 && page.series === series, 'the queue is empty, and the ingest page knows the series');
    const { code } = await server.stop();
    check(code === 0, 'SIGTERM ends it with 0');
  },
});
