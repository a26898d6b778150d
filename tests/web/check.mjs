// node check.mjs [SCREENSHOTS]: the pages in a headless Chromium. With MUSTER_URL=http://127.0.0.1:9797 the
// same is asked of a running muster, apart from what only an invented fleet can be made to do; with
// MUSTER_SERVER=program, of the address that this program prints, and the program ends with the checks.
// Needs dashboards/web/node_modules (npm ci) and, without MUSTER_URL, the built pages: MUSTER_DIST, or
// dashboards/web/dist.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Fleet } from './fixture.mjs';
import { serve } from './server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const require = createRequire(join(root, 'dashboards/web/package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const dist = process.env.MUSTER_DIST || join(root, 'dashboards/web/dist');
const pictures = process.argv[2] || join(root, 'build/screenshots');
mkdirSync(pictures, { recursive: true });

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const wide = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };
const wait_ms = 10_000;

const failures = [];
let passed = 0;
function check(ok, what) {
  if (ok) {
    passed++;
    return;
  }
  failures.push(what);
  console.log(`  FAILED ${what}`);
}

const profile = mkdtempSync(join(tmpdir(), 'muster-chromium-'));
// A zone that is not the server's, so that a time that forgets the viewer's zone shows.
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, args: flags, timezoneId: 'Europe/Paris', locale: 'en-GB', viewport: wide });
browser.setDefaultTimeout(wait_ms);

async function open(base, path, { size = wide, theme = 'light', picture = '', ready = 'h1' } = {}) {
  const page = await browser.newPage();
  const name = picture || path;
  page.problems = [];
  page.on('console', (m) => {
    // A refused answer and a broken stream are the point of some checks; the browser notes each.
    if (['error', 'warning'].includes(m.type()) && !/status of (404|503)|ERR_INCOMPLETE_CHUNKED/.test(m.text())) page.problems.push(m.text());
  });
  page.on('pageerror', (fault) => page.problems.push(String(fault)));
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
  await page.goto(base + path);
  await page.waitForSelector(ready);
  page.name = `${name} ${size.width} px ${theme}`;
  return page;
}

const drawn = (page) => until(page, () => [...document.querySelectorAll('.row canvas')].every((c) => c.width > 300));

async function sound(page, picture) {
  const { scroll, width, beyond } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth, width: document.documentElement.clientWidth,
    beyond: [...document.querySelectorAll('main *')].filter((e) => !e.closest('.filters, .scroll, svg, pre') && e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((e) => e.className || e.tagName),
  }));
  check(scroll <= width, `${page.name}: it scrolls sideways, ${scroll} > ${width}: ${beyond}`);
  await page.evaluate(axe);  // as a script of the page it would break the policy that it must hold
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  for (const v of result.violations) check(false, `${page.name}: axe ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join('; ')}`);
  check(!result.violations.length, `${page.name}: ${result.violations.length} violations of axe`);
  check(!page.problems.length, `${page.name}: console: ${page.problems.join(' | ')}`);
  if (picture) await page.screenshot({ path: join(pictures, `${picture}.png`), fullPage: picture.includes('full') || !picture.includes('phone') });
}

// Asked from here, as waiting inside the page needs an eval, which the policy of the pages forbids.
async function until(page, what, of, ms = wait_ms) {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (await page.evaluate(what, of)) return true;
    await new Promise((r) => setTimeout(r, 25));
  }
  return false;
}

const demo = { seed: 7, running: true, faults: [{ kind: 'source_stale', title: 'Stale source' }, { kind: 'bad_package', title: 'Bad package' }, { kind: 'region_outage', title: 'Region outage' }], active: [{ kind: 'source_stale', target: 'src-clickstream', since: 1 }] };

async function looks(base, incident, label) {
  for (const theme of ['light', 'dark']) {
    for (const size of [wide, phone]) {
      const tag = `${label}${size === wide ? '' : '-phone'}-${theme}`;
      const fleet = await open(base, '/', { size, theme });
      await drawn(fleet);
      const finding = await fleet.textContent('h1');
      check(/open incident|model|wrong|sample/.test(finding), `${fleet.name}: the h1 says the finding, not '${finding}'`);
      check((await fleet.title()).startsWith(finding), `${fleet.name}: the tab's title is the finding`);
      await sound(fleet, `fleet-${tag}`);
      await fleet.close();
      const list = await open(base, '/incidents', { size, theme, ready: '.inc, .inc-list' });
      await sound(list, `incidents-${tag}`);
      await list.close();
      if (!incident) continue;
      const page = await open(base, `/incidents/${incident}`, { size, theme });
      await page.waitForSelector('section[aria-label=Evidence] :is(canvas, .note)');
      const title = await page.textContent('h1');
      check(title.length > 20 && !title.includes(incident), `${page.name}: the h1 is the sentence, not '${title}'`);
      await sound(page, `incident-${tag}`);
      await page.close();
    }
  }
}

async function invented() {
  const fleet = new Fleet({ size: 248 });
  const server = await serve(dist, fleet, { demo });
  await looks(server.url, 'INC-0412', '248');

  // Live: numbers change in place, the strip moves, nothing else does.
  let page = await open(server.url, '/');
  await drawn(page);
  await until(page, () => document.querySelector('.live').textContent.startsWith('live'));
  check((await page.textContent('.live')).includes('fleet time'), `${page.name}: another time than the reader's is called the fleet's`);
  check((await page.textContent('.inc .st')).includes('since 02:31'), `${page.name}: the times in sentences are the reader's, not ${await page.textContent('.inc .st')}`);
  check((await page.textContent('.live')).includes('03:12'), `${page.name}: 02:12 UTC is 03:12 in Paris, as in ${await page.textContent('.live')}`);
  await page.hover('.sheet');
  const places = () => page.evaluate(() => [...document.querySelectorAll('.row, .inc, .filters, .cell')].map((e) => { const r = e.getBoundingClientRect(); return `${e.dataset.id ?? ''} ${Math.round(r.x)} ${Math.round(r.y)} ${Math.round(r.width)} ${Math.round(r.height)}`; }).join('\n'));
  const before = await places();
  const cells = await page.evaluate(() => { window.first = document.querySelector('.cell'); return [...document.querySelectorAll('.cell')].map((c) => c.dataset.tip).join(); });
  const wait_stream = async (n) => { const end = Date.now() + wait_ms; while (server.streams() < n && Date.now() < end) await new Promise((r) => setTimeout(r, 20)); };
  await wait_stream(1);
  for (let n = 0; n < 5; n++) {
    const at = await page.textContent('.live');
    server.tick();
    check(await until(page, (old) => document.querySelector('.live').textContent !== old, at), `${page.name}: a tick reaches the page`);
  }
  check((await page.evaluate(() => [...document.querySelectorAll('.cell')].map((c) => c.dataset.tip).join())) !== cells, `${page.name}: scores changed`);
  check((await places()) === before, `${page.name}: nothing moved in five ticks while the reader points at the sheet`);
  check(await page.evaluate(() => window.first.isConnected), `${page.name}: cells are kept, not made anew`);

  // A new incident: said, and kept back while the reader is further down.
  await page.evaluate(() => scrollTo(0, 700));
  const top = await page.evaluate(() => document.querySelector('.sheet').getBoundingClientRect().top);
  fleet.open = [...fleet.open, { ...fleet.incident, id: 'INC-0413', title: 'src-new has moved 9 of its 12 models.', cause: 'src-new', score: 88 }];
  server.tick();
  check(await until(page, () => document.querySelector('.pill')?.textContent === '1 new incident'), `${page.name}: '1 new incident' waits`);
  check((await page.evaluate(() => document.querySelector('.sheet').getBoundingClientRect().top)) === top, `${page.name}: what is read stays where it is`);
  check(await until(page, () => [...document.querySelectorAll('[role=status]')].some((e) => e.textContent.includes('New incident: src-new'))), `${page.name}: the new incident is spoken`);
  await page.click('.pill');
  check(await until(page, () => document.querySelectorAll('.inc').length === 4), `${page.name}: it shows when asked for`);
  fleet.open = fleet.open.slice(0, 3);
  server.tick();
  await until(page, () => document.querySelectorAll('.inc').length === 3);

  // The stream breaks and comes back by itself.
  server.state.refuse = true;
  server.drop();
  check(await until(page, () => document.querySelector('.ban')?.textContent.includes('Not live since')), `${page.name}: a broken stream is said`);
  await sound(page, 'fleet-248-stale-light');
  server.state.refuse = false;
  check(await until(page, () => !document.querySelector('.ban')), `${page.name}: it goes on when the stream is back`);

  // Filter, group, states: in the URL, and back undoes a page.
  await page.keyboard.press('/');
  check(await page.evaluate(() => document.activeElement.id === 'find-models'), `${page.name}: / finds models`);
  await page.keyboard.type('team:search');
  check(await until(page, () => document.querySelectorAll('.row:not(.h)').length === 2), `${page.name}: the filter leaves ranking and spell`);
  await page.click('.seg >> text=Region');
  check(await until(page, () => document.querySelectorAll('.row:not(.h)').length === 4), `${page.name}: grouped by region`);
  check(page.url().includes('q=team%3Asearch') && page.url().includes('group=region'), `${page.name}: what is seen is in the URL: ${page.url()}`);
  await page.click('.chip >> text=failing');
  check(page.url().includes('state=failing'), `${page.name}: the chip is in the URL`);
  await page.fill('#find-models', 'no such model');
  check(await until(page, () => document.querySelector('.none')?.textContent.includes('248 models match without the filter')), `${page.name}: nothing found is said`);
  await page.click('text=Clear it');
  await drawn(page);

  // Keys: one tab stop a sheet, arrows walk, Enter opens.
  await page.focus('.cell[tabindex="0"]');
  await page.keyboard.press('ArrowRight');
  check(await page.evaluate(() => document.activeElement === document.querySelectorAll('.cell')[1]), `${page.name}: arrows walk the cells`);
  check((await page.evaluate(() => document.querySelectorAll('.cell[tabindex="0"]').length)) === 1, `${page.name}: the sheet is one tab stop`);
  await page.keyboard.press('Enter');
  check(await until(page, () => document.querySelector('dialog[open] tr.best')), `${page.name}: Enter opens the list`);
  await sound(page, 'fleet-248-list-light');
  await page.keyboard.press('Escape');
  await page.click('.demo >> text=Bad package');
  check(await until(page, () => document.querySelector('.toast')?.textContent.includes('Bad package')), `${page.name}: a demo fault is told`);
  check(server.state.posted.some((p) => p.kind === 'bad_package'), `${page.name}: and posted`);
  await page.click('[aria-label="Switch between light and dark"]');
  check((await page.evaluate(() => document.documentElement.dataset.theme)) === 'dark', `${page.name}: the theme is switched`);
  await page.reload();
  await drawn(page);
  check((await page.evaluate(() => document.documentElement.dataset.theme)) === 'dark', `${page.name}: and remembered`);
  await page.evaluate(() => localStorage.removeItem('muster-theme'));
  await page.close();

  // The incident: acknowledge with a key, take it back, note, next.
  page = await open(server.url, '/incidents/INC-0412');
  await page.waitForSelector('.charts canvas');
  const head = await page.textContent('h1 em');
  check(head === 'src-clickstream', `${page.name}: the cause stands out, not '${head}'`);
  await page.keyboard.press('a');
  check(await until(page, () => document.querySelector('.clock b').textContent.startsWith('Acknowledged')), `${page.name}: A acknowledges`);
  check(await until(page, () => document.querySelector('.toast button')), `${page.name}: and can be undone`);
  check(server.state.posted.some((p) => p.what === 'ack' && p.by === 'on-call'), `${page.name}: the acknowledgement was posted`);
  await page.click('.toast >> text=Undo');
  check(await until(page, () => document.querySelector('.clock b').textContent === 'Not acknowledged.'), `${page.name}: undo takes it back`);
  check(server.state.posted.some((p) => p.what === 'unack'), `${page.name}: that was posted too`);
  server.state.refuse = true;
  await page.keyboard.press('a');
  check(await until(page, () => document.querySelector('.toast')?.textContent.includes('could not be acknowledged')), `${page.name}: a refused acknowledgement is said`);
  check(await until(page, () => document.querySelector('.clock b').textContent === 'Not acknowledged.'), `${page.name}: and not shown as done`);
  server.state.refuse = false;
  await page.keyboard.press('n');
  await until(page, () => document.activeElement.matches('textarea, input'));
  await page.keyboard.type('backfill runs, a and r are typed');
  await page.click('text=Add the note');
  check(await until(page, () => document.querySelector('.log').textContent.includes('backfill runs')), `${page.name}: the note is in the log`);
  await page.click('text=/^Show the other/');
  check(await until(page, () => document.querySelectorAll('.sm > div').length > 12), `${page.name}: the others show`);
  await page.keyboard.press('t');
  check(await until(page, () => document.querySelectorAll('.numbers tbody tr').length > 100), `${page.name}: T shows the numbers`);
  await sound(page, 'incident-248-full-light');
  await page.hover('.charts .u-over >> nth=0');
  check(await until(page, () => /of \d+ out of band/.test(document.querySelector('.readout').textContent)), `${page.name}: pointing reads the chart`);
  await page.keyboard.press('?');
  await sound(page, 'keys-248-light');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  check(await until(page, () => location.pathname.endsWith('INC-0411') && document.querySelector('.crumb')?.textContent.includes('INC-0411')), `${page.name}: J goes to the next incident`);
  await page.goBack();
  check(await until(page, () => location.pathname.endsWith('INC-0412') && document.querySelector('.crumb')?.textContent.includes('INC-0412')), `${page.name}: back undoes it`);
  await page.keyboard.press('r');
  check(await until(page, () => document.querySelector('dialog[open]')?.textContent.includes('If they stay there')), `${page.name}: resolving asks first`);
  await page.click('dialog >> text=/^Resolve$/');
  check(await until(page, () => document.querySelector('.tag').textContent === 'resolved'), `${page.name}: resolved`);
  await sound(page, 'incident-248-resolved-light');
  await page.close();
  page = await open(server.url, '/incidents/INC-9999');
  check((await page.textContent('h1')).startsWith('There is no such'), `${page.name}: an unknown incident is said`);
  await sound(page);
  await page.close();
  page = await open(server.url, '/nowhere');
  await sound(page);
  await page.close();
  server.close();
}

async function states() {
  const failing = await serve(dist, new Fleet({ size: 248 }));
  failing.state.refuse = true;
  let page = await open(failing.url, '/');
  check((await page.textContent('main')).includes('did not answer within 5 s'), `${page.name}: the server's error is said`);
  await sound(page, 'fleet-error-light');
  failing.state.refuse = false;
  await page.click('text=Try again');
  check(await until(page, () => document.querySelector('.sheet')), `${page.name}: trying again works`);
  await page.close();
  failing.close();

  const learning = await serve(dist, new Fleet({ size: 40, learning: true }));
  page = await open(learning.url, '/');
  await drawn(page);
  check((await page.textContent('main')).includes('Learning, 7 days to go; limits, no-data and flat-line findings work already'), `${page.name}: learning is said`);
  await sound(page, 'fleet-learning-light');
  await page.close();
  learning.close();

  const quiet = await serve(dist, new Fleet({ size: 248, quiet: true }));
  page = await open(quiet.url, '/', { theme: 'dark' });
  await drawn(page);
  check((await page.textContent('h1')) === 'Nothing is wrong that muster can see', `${page.name}: calm is said`);
  await sound(page, 'fleet-quiet-dark');
  await page.close();
  quiet.close();

  for (const size of [wide, phone]) {
    const nothing = new Fleet({ size: 0, quiet: true });
    nothing.at = 0;
    const empty = await serve(dist, nothing);
    page = await open(empty.url, '/', { size });
    check((await page.textContent('main')).includes('/api/v1/write'), `${page.name}: how to send samples is said`);
    await sound(page, `fleet-empty${size === phone ? '-phone' : ''}-light`);
    await page.close();
    empty.close();
  }
}

async function large() {
  const fleet = new Fleet({ size: 2000 });
  const server = await serve(dist, fleet);
  let page = await open(server.url, '/', { theme: 'dark' });
  await drawn(page);
  await sound(page, 'fleet-2000-dark');
  await page.close();
  page = await browser.newPage();
  await page.setViewportSize(wide);
  await page.goto(server.url, { waitUntil: 'commit' });
  await page.waitForSelector('.row:not(.h) .cell');
  const paint = await page.evaluate(() => performance.now());
  await drawn(page);
  check((await page.evaluate(() => document.querySelectorAll('.cell').length)) === 2000, '2000 models: a cell for each');
  const costs = [];
  await page.evaluate(() => {
    // From the arrival of a tick to the end of the frame that shows it.
    window.costs = [];
    const parse = JSON.parse;
    JSON.parse = (text, ...more) => {
      const from = performance.now();
      const value = parse(text, ...more);
      if (value?.full !== undefined) requestAnimationFrame(() => setTimeout(() => window.costs.push({ from, to: performance.now() }), 0));
      return value;
    };
    new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.longest = Math.max(window.longest ?? 0, e.duration)))).observe({ entryTypes: ['longtask'] });
  });
  for (let n = 0; n < 10; n++) {
    const at = await page.textContent('.live');
    server.tick();
    await until(page, (old) => document.querySelector('.live').textContent !== old, at);
  }
  await until(page, () => window.costs.length >= 10);
  for (const c of await page.evaluate(() => window.costs)) costs.push(c.to - c.from);
  costs.sort((a, b) => a - b);
  const longest = await page.evaluate(() => window.longest ?? 0);
  console.log(`2000 models: sheet ${Math.round(paint)} ms after navigation, update median ${Math.round(costs[Math.floor(costs.length / 2)])} ms, longest task ${Math.round(longest)} ms`);
  // Targets 1 s and 100 ms; the bounds are wider, as the machine that runs this may be busy with other things.
  check(paint < 3000, `2000 models: the sheet shows after ${Math.round(paint)} ms`);
  check(costs[Math.floor(costs.length / 2)] < 300, `2000 models: an update takes ${costs[Math.floor(costs.length / 2)]} ms`);
  await page.close();
  server.close();
}

// A running muster: whatever its fleet is, its pages must be sound and live.
async function real(base) {
  const answer = await (await fetch(`${base}/api/v1/incidents?limit=1`)).json();
  await looks(base, answer.incidents[0]?.id, 'real');
  const page = await open(base, '/');
  const at = await page.textContent('.live');
  check(await until(page, (old) => document.querySelector('.live').textContent !== old, at, 150_000), 'the running fleet ticks on the page');
  await page.close();
  if (!answer.incidents.length) return;
  const open_ones = await (await fetch(`${base}/api/v1/incidents?state=open&limit=1`)).json();
  const id = open_ones.incidents[0]?.id;
  if (!id) return;
  const detail = await open(base, `/incidents/${id}`);
  if (await detail.locator('text=/^Acknowledge/').count()) {
    await detail.keyboard.press('a');
    check(await until(detail, () => document.querySelector('.toast button')), `${id}: A acknowledges`);
    const told = await (await fetch(`${base}/api/v1/incidents/${id}`)).json();
    check(told.acked_at !== null, `${id}: the server has it`);
    await detail.click('.toast >> text=Undo');
    check(await until(detail, () => document.querySelector('.toast')?.textContent.includes('not acknowledged any more')), `${id}: and can be undone`);
  }
  await detail.close();
}

try {
  if (process.env.MUSTER_SERVER) {
    const server = spawn(process.env.MUSTER_SERVER, { stdio: ['pipe', 'pipe', 'inherit'] });
    const url = await new Promise((resolve, reject) => {
      server.stdout.once('data', (text) => resolve(String(text).trim()));
      server.once('error', reject);
      server.once('exit', () => reject(new Error('the server ended before it listened')));
    });
    const ended = new Promise((resolve) => server.once('exit', resolve));
    await real(url);
    server.stdin.end();
    await ended;
  } else if (process.env.MUSTER_URL) {
    await real(process.env.MUSTER_URL.replace(/\/$/, ''));
  } else {
    await invented();
    await states();
    await large();
  }
} catch (fault) {
  failures.push(String(fault?.stack ?? fault));
  console.log(fault);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(`${passed} checks hold, ${failures.length} do not; pictures are in ${pictures}`);
process.exit(failures.length ? 1 : 0);
