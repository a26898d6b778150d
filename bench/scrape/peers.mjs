// CPU of muster (with its PostgreSQL) and of Prometheus: both scrape the same page once a second, side by side; what they
// used after the tenth scrape is told, from /proc. muster judges each sample too, which Prometheus has no part for.
//
//   MUSTER=build/release/app/muster node bench/scrape/peers.mjs [series] [seconds]
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const series = Number(process.argv[2] ?? 10_000);
const seconds = Number(process.argv[3] ?? 30);
const folder = mkdtempSync(join(tmpdir(), 'muster-bench-scrape-'));
chmodSync(folder, 0o755);
const children = [];
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

// Pages with other values each time, made before anything is measured.
const pages = [];
for (let p = 0; p < 16; ++p) {
  const lines = ['# TYPE model_server_requests_total counter'];
  for (let i = 0; i < series; ++i)
    lines.push(`model_server_requests_total{route="/api/v1/predict/${Math.floor(i / 40)}",method="POST",status="200",handler="predict",shard="${i % 40}"} ${(i * 7 + p * 131) % 100_003}`);
  pages.push(`${lines.join('\n')}\n`);
}
const served = { muster: 0, prometheus: 0 };
const server = createServer((request, response) => {
  const who = request.url.slice(1);
  response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4' });
  response.end(pages[served[who]++ % pages.length]);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const config = (who) => `
global: {scrape_interval: 1s}
scrape_configs: [{job_name: bench, metrics_path: /${who}, static_configs: [{targets: ['127.0.0.1:${server.address().port}']}]}]
`;
// User and system seconds of a process and of all it started.
const hz = 100;
function cpu(root) {
  const parents = new Map(), times = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
      parents.set(Number(pid), Number(fields[1]));
      times.set(Number(pid), (Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14])) / hz);
    } catch { /* it has ended */ }
  }
  const mine = (pid) => pid === root || (parents.has(pid) && mine(parents.get(pid)));
  return [...times].filter(([pid]) => mine(pid)).reduce((sum, [, time]) => sum + time, 0);
}

for (const who of ['muster', 'prometheus']) writeFileSync(`${folder}/${who}.yml`, config(who));
mkdirSync(`${folder}/tsdb`);
const muster = spawn(process.env.MUSTER, ['serve', '--config', `${folder}/muster.yml`, '--data-dir', `${folder}/data`, '--listen', '127.0.0.1:0'], { stdio: 'ignore' });
const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/tsdb`, '--web.listen-address=127.0.0.1:0', '--log.level=error'], { stdio: 'ignore' });
children.push(muster, prometheus);

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
while (served.muster < 10 || served.prometheus < 10) await wait(100);
const before = { muster: [served.muster, cpu(muster.pid)], prometheus: [served.prometheus, cpu(prometheus.pid)] };
await wait(seconds * 1000);
console.log(`load ${readFileSync('/proc/loadavg', 'utf8').split(' ')[0]}; ${series} series, every second`);
for (const [who, child] of [['muster', muster], ['prometheus', prometheus]]) {
  const scrapes = served[who] - before[who][0];
  const used = cpu(child.pid) - before[who][1];
  console.log(`${who.padEnd(11)} ${scrapes} pages, ${used.toFixed(2)} CPU s, ${Math.round(scrapes * series / used)} samples a CPU second`);
}
muster.kill('SIGTERM');
await new Promise((resolve) => muster.on('exit', resolve));
process.exit(0);
