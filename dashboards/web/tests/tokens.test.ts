import { describe, expect, it } from 'vitest';

import { from_oklab, oklab, score_ramp, type Rgb } from '../src/colour';
import css from '../src/tokens.css?raw';

// Contrast by WCAG 2.2 (relative luminance), distance in OKLab times 100, and the same as seen with
// deuteranopia and protanopia: the matrices of Machado, Oliveira and Fernandes (2009), severity 1.

const themes: Record<'light' | 'dark', Record<string, Rgb>> = { light: {}, dark: {} };
const rgb = (hex: string): Rgb => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)) as Rgb;
for (const [, name, light, dark] of css.matchAll(/--([\w-]+):\s*light-dark\((#\w{6}),\s*(#\w{6})\)/g)) {
  themes.light[name] = rgb(light);
  themes.dark[name] = rgb(dark);
}

const linear = (c: number) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]: Rgb) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const sights: Record<string, number[]> = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.042940, 0.968881],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
};
const to_srgb = (c: number) => 255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);
function seen(colour: Rgb, sight: string): Rgb {
  const l = colour.map(linear);
  const m = sights[sight];
  return oklab([0, 1, 2].map((i) => to_srgb(Math.min(1, Math.max(0, m[3 * i] * l[0] + m[3 * i + 1] * l[1] + m[3 * i + 2] * l[2])))) as Rgb);
}
const distance = (a: Rgb, b: Rgb, sight: string) => {
  const [p, q] = [seen(a, sight), seen(b, sight)];
  return 100 * Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
};
const ordered = (xs: number[], up: boolean) => xs.every((x, i) => !i || (up ? x > xs[i - 1] : x < xs[i - 1]));

it('the tokens were read', () => {
  expect(Object.keys(themes.light).length).toBeGreaterThan(40);
});

it('OKLab is there and back the same', () => {
  for (const c of [[0, 0, 0], [255, 255, 255], [152, 18, 60], [31, 91, 196]] as Rgb[]) expect(from_oklab(oklab(c))).toEqual(c);
});

describe.each(['light', 'dark'] as const)('the %s theme', (name) => {
  const t = themes[name];
  it('has text that can be read on every ground', () => {
    for (const ground of ['bg', 'surface', 'sunken']) {
      for (const text of ['ink', 'ink-2', 'ink-3', 'accent', 't-ok', 't-watch', 't-degr', 't-fail', 'series', 'anom']) {
        expect(contrast(t[text], t[ground]), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      }
    }
    for (const ground of ['fail-bg', 'watch-bg', 'accent-bg']) {
      for (const text of ['ink', 'ink-2', 't-fail']) expect(contrast(t[text], t[ground]), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
    expect(contrast(t['on-accent'], t.accent)).toBeGreaterThanOrEqual(4.5);
  });
  it('has ink upon a step that can be read', () => {
    for (const [step, least] of [['ok', 3], ['watch', 4.5], ['degr', 4.5], ['fail', 4.5]] as const) {
      expect(contrast(t[`on-${step}`], t[`h-${step}`]), `on-${step}`).toBeGreaterThanOrEqual(least);
    }
  });
  it.each(Object.keys(sights))('has health steps that %s tells apart, ordered by lightness', (sight) => {
    const steps = ['h-ok', 'h-watch', 'h-degr', 'h-fail'];
    for (const [i, a] of steps.entries()) {
      for (const b of steps.slice(i + 1)) expect(distance(t[a], t[b], sight), `${a} and ${b}`).toBeGreaterThanOrEqual(12);
    }
    expect(ordered(steps.map((s) => seen(t[s], sight)[0]), name === 'dark')).toBe(true);
  });
  it.each(Object.keys(sights))('has a score ramp that is monotone for %s', (sight) => {
    const anchors = ['s-0', 's-25', 's-50', 's-75', 's-100'].map((s) => t[s]);
    expect(ordered(anchors.map((c) => seen(c, sight)[0]), name === 'dark')).toBe(true);
    const ramp = score_ramp(anchors);
    expect(ramp.length).toBe(101);
    expect(ramp[15]).toEqual(anchors[0]);
    expect(ramp[100]).toEqual(anchors[4]);
  });
});
