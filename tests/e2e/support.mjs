// What the end-to-end tests share: the built binary started on a free port and a folder of its own, ended by
// its own process id, and a small HTTP client. Node alone, nothing to install.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const muster = process.env.MUSTER;
if (!muster || !existsSync(muster)) throw new Error('MUSTER must name the built binary; ctest sets it');

const started = new Set();
const folders = new Set();
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'muster-e2e-'));
  chmodSync(folder, 0o755);
  folders.add(folder);
  return folder;
}

// Starts `muster <command> …` and waits for the line that names its page. `child` dies with this program.
export async function start(args, { timeoutMs = 90_000, env = {} } = {}) {
  const child = spawn(muster, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  started.add(child);
  let out = '', err = '';
  child.stderr.on('data', (d) => { err = (err + d).slice(-200_000); });
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => {
    started.delete(child);
    resolve({ code, signal });
  }));
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no page after ${timeoutMs} ms\n${out}\n${err}`)), timeoutMs);
    child.stdout.on('data', (d) => {
      out += d;
      const match = out.match(/http:\/\/127\.0\.0\.1:\d+/);
      if (match) { clearTimeout(late); resolve(match[0]); }
    });
    ended.then(({ code, signal }) => {
      clearTimeout(late);
      reject(new Error(`muster ended with ${code ?? signal}\n${out}\n${err}`));
    });
  });
  return {
    url, child, ended,
    output: () => out,
    log: () => err,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      return ended;
    },
    async kill() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      return ended;
    },
  };
}

export const serve = (folder, more = []) =>
  start(['serve', '--data-dir', folder, '--listen', '127.0.0.1:0', ...more]);

export function run(args, options = {}) {
  const done = spawnSync(muster, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status !== 0) throw new Error(`muster ${args.join(' ')} gave ${done.status}\n${done.stdout}\n${done.stderr}`);
  return done;
}

export async function json(url, options) {
  const answer = await fetch(url, options);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${options?.method ?? 'GET'} ${url} gave ${answer.status}: ${text.slice(0, 500)}`);
  return text ? JSON.parse(text) : null;
}

// Asks until `ready` says yes, and gives what it said; each question is an event of its own, no sleep decides.
export async function eventually(what, ready, timeoutMs = 60_000) {
  const until = Date.now() + timeoutMs;
  let last;
  while (Date.now() < until) {
    try {
      const found = await ready();
      if (found) return found;
    } catch (fault) { last = fault; }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${timeoutMs} ms${last ? `; last: ${last.message}` : ''}`);
}

// Posts NDJSON lines until they are acknowledged, as a careful sender does: the same bytes again after a 503 or
// a broken connection. Gives the answer, and how often it had to ask.
export async function post(url, lines, { tries = 400, pauseMs = 50 } = {}) {
  for (let n = 1; n <= tries; ++n) {
    try {
      const answer = await fetch(`${url}/api/v1/samples`, { method: 'POST', body: lines });
      if (answer.status !== 503 && answer.status !== 429) return { status: answer.status, body: await answer.json(), tries: n };
      await answer.arrayBuffer();
    } catch { /* refused or cut: the same again */ }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  throw new Error(`not acknowledged after ${tries} tries`);
}

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

export function check(condition, what) {
  if (!condition) throw new Error(`failed: ${what}`);
  console.log(`ok   ${what}`);
}

// Runs the tests of a file in order and ends the program with 0 or 1.
export async function main(tests) {
  for (const [name, test] of Object.entries(tests)) {
    console.log(`-- ${name}`);
    try {
      await test();
    } catch (fault) {
      console.error(`FAIL ${name}\n${fault.stack}`);
      process.exit(1);
    }
  }
  process.exit(0);
}
