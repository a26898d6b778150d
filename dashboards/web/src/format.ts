// Numbers and times in the reader's words. Pure; the viewer's zone is the only thing taken from outside.

const thin = '\u202f';

// Thin spaces between thousands, a fixed number of decimals, a true minus sign.
export function number(x: number, decimals = 0): string {
  if (!Number.isFinite(x)) return 'not known';
  const rounded = x.toFixed(decimals);
  const negative = rounded.startsWith('-') && Number(rounded) !== 0;
  const [whole, fraction] = rounded.replace('-', '').split('.');
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, thin) : whole;
  return (negative ? '\u2212' : '') + grouped + (fraction ? '.' + fraction : '');
}

export function count(n: number, one: string, many = one + 's'): string {
  return `${number(n)} ${n === 1 ? one : many}`;
}

// Three significant digits, for values whose scale is not known beforehand.
export function value(x: number): string {
  if (!Number.isFinite(x)) return 'not known';
  const size = Math.abs(x);
  if (size === 0) return '0';
  if (size >= 1e7) return `${number(x / 1e6, size >= 1e8 ? 0 : 1)} M`;
  if (size >= 1000) return number(x);
  if (size < 0.001) return x.toExponential(1).replace('-', '\u2212').replace(/e\u2212?-/, 'e\u2212');
  return number(x, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export function sigma(x: number): string {
  return `${x < 0 ? '\u2212' : '+'}${number(Math.abs(x), 1)} \u03c3`;
}

const superscripts = '\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079';
export function power_of_ten(exponent: number): string {
  return '10' + [...String(exponent)].map((digit) => superscripts[Number(digit)]).join('');
}

// Odds as text: "41 000 : 1". Two digits are enough for evidence.
export function odds(ratio: number): string {
  if (Number.isNaN(ratio)) return 'not known';
  if (ratio < 1.05) return '1 : 1';
  if (ratio < 10) return `${number(ratio, 1)} : 1`;
  if (ratio >= 1e9) return `${power_of_ten(Math.floor(log10(ratio)))} : 1`;
  const unit = 10 ** (Math.floor(Math.log10(ratio)) - 1);
  const rounded = Math.round(ratio / unit) * unit;
  return rounded >= 1e6 ? `${number(rounded / 1e6, rounded < 1e7 ? 1 : 0)} million : 1` : `${number(rounded)} : 1`;
}

// Evidence beyond 10^300 to 1 is drawn at the edge rather than outside the page.
export function log10(ratio: number): number {
  return Math.min(300, Math.max(0, Math.log10(Math.max(ratio, 1))));
}

// Odds at an axis, from their exponent: "100:1", "10k:1".
export function odds_tick(exponent: number): string {
  const words = ['1', '10', '100', '1k', '10k', '100k', '1M', '10M', '100M'];
  return `${words[exponent] ?? power_of_ten(exponent)}:1`;
}

// At most five ticks on a logarithmic axis from 1:1 to beyond `top` decades; the last is the axis' end.
export function odds_ticks(top: number): number[] {
  const step = [1, 2, 3, 5, 10, 20, 50, 100].find((s) => top / s <= 4) ?? 100;
  const last = Math.max(1, Math.ceil(top / step - 1e-9)) * step;
  const ticks: number[] = [];
  for (let t = 0; t <= last; t += step) ticks.push(t);
  return ticks;
}

// Three to five round ticks from 0.
export function count_ticks(top: number): number[] {
  const raw = Math.max(1, top) / 3;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map((s) => s * unit).find((s) => s >= raw * 0.999) ?? 10 * unit);
  const ticks: number[] = [];
  for (let t = 0; t < top + step; t += step) ticks.push(t);
  return ticks;
}

// "92 min", "3 h 10 min", "2 days": lengths as people say them.
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.round(s / 60);
  if (min < 120) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 48) return min % 60 && h < 10 ? `${h} h ${min % 60} min` : `${Math.round(min / 60)} h`;
  return `${Math.round(min / 1440)} days`;
}

const two = (n: number) => String(n).padStart(2, '0');
const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];

// The viewer's clock, 24 h.
export function clock(ms: number): string {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}`;
}

export function clock_utc(ms: number): string {
  const d = new Date(ms);
  return `UTC ${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
}

export function date(ms: number): string {
  const d = new Date(ms);
  return `${d.getDate()} ${months[d.getMonth()]} ${d.getFullYear()}`;
}

const day_of = (ms: number) => {
  const d = new Date(ms);
  return Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) / 86_400_000;
};

// A moment as seen from `now`: "14:20" today, "14:20 yesterday", "14:20, 3 March" before.
export function moment(ms: number, now: number): string {
  const days = day_of(now) - day_of(ms);
  if (days === 0) return clock(ms);
  if (days === 1) return `${clock(ms)} yesterday`;
  const d = new Date(ms);
  const year = new Date(now).getFullYear() === d.getFullYear() ? '' : ` ${d.getFullYear()}`;
  return `${clock(ms)}, ${d.getDate()} ${months[d.getMonth()].slice(0, 3)}${year}`;
}

export function ago(ms: number, now: number): string {
  const gone = now - ms;
  return gone < 1000 ? 'just now' : `${duration(gone)} ago`;
}

export function days(n: number): string {
  if (n < 0.042) return 'less than an hour';
  if (n < 2) return count(Math.max(1, Math.round(n * 24)), 'hour');
  return count(Math.ceil(n - 1e-9), 'day');
}

// A fleet that is replayed or invented lives at another time than the reader; then the page says whose time it is.
export function is_other_time(at: number, wall: number): boolean {
  return at > 0 && Math.abs(at - wall) > 3_600_000;
}
