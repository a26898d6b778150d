// kill -9 of muster and an immediate stop of its PostgreSQL while senders are at work: every acknowledged sample is
// stored exactly once, and a sample that was never acknowledged is stored once after its sender repeats it.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { check, eventually, json, main, post, serve, temporaryFolder } from './support.mjs';

const senders = 4, models = 8, metrics = 3;
const first = Date.UTC(2026, 0, 5);

function psql(folder, sql) {
  const done = spawnSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', `host=${folder}/postgres/run dbname=muster user=muster`, '-c', sql],
    { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  return done.stdout.trim();
}

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
    const { status } = await fetch(`${server.url}/-/ready`);
    check(status === 200, 'ready again after the last stop');
    await json(`${server.url}/api/v1/fleet?parts=core`);
    const { code } = await server.stop();
    check(code === 0, 'SIGTERM ends it with 0');
  },
});
