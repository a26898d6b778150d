import { createRequire } from 'node:module';
import { serve } from './server.mjs'; import { Fleet } from './fixture.mjs';
const require = createRequire(new URL('../../dashboards/web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const dist = new URL('../../dashboards/web/dist', import.meta.url).pathname;
const s = await serve(dist, new Fleet({ size: +(process.argv[2] || 248) }), { demo: { seed: 7, running: true, faults: [{ kind: 'source_stale', title: 'Stale source' }, { kind: 'package', title: 'Bad package' }, { kind: 'region', title: 'Region outage' }], active: [{ kind: 'source_stale', target: 'src-clickstream', since: 1 }] } });
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
for (const [n, p, w, h, t] of [['fleet-dark', '/', 1440, 900, 'dark'], ['fleet-light', '/', 1440, 900, 'light'], ['fleet-phone', '/', 390, 844, 'dark'], ['inc-light', '/incidents/INC-0412', 1440, 900, 'light'], ['inc-dark', '/incidents/INC-0412', 1440, 900, 'dark'], ['inc-phone', '/incidents/INC-0412', 390, 844, 'light'], ['list', '/incidents', 1440, 700, 'light']]) {
  const page = await b.newPage({ viewport: { width: w, height: h }, colorScheme: t });
  page.on('console', m => console.log(n, m.type(), m.text())); page.on('pageerror', e => console.log(n, e.stack));
  await page.goto(s.url + p); await page.waitForSelector('h1'); await page.waitForTimeout(600);
  await page.screenshot({ path: `/tmp/web/${n}.png`, fullPage: true }); await page.close();
}
await b.close(); s.close();
