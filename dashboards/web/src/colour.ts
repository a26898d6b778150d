// The ramp of the heat strip, interpolated in OKLab so that equal steps of score look equal.

export type Rgb = [number, number, number];

const to_linear = (c: number) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const from_linear = (c: number) => 255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);

export function oklab([r8, g8, b8]: Rgb): Rgb {
  const r = to_linear(r8), g = to_linear(g8), b = to_linear(b8);
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

export function from_oklab([L, a, b]: Rgb): Rgb {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const channel = (c: number) => Math.min(255, Math.max(0, Math.round(from_linear(Math.min(1, Math.max(0, c))))));
  return [
    channel(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    channel(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    channel(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

// Where the five anchors lie. Below 15 nothing is drawn: chance draws there every hour.
export const ramp_stops = [15, 35, 55, 78, 100];

// 101 colours for the scores 0 to 100, from the five anchor colours.
export function score_ramp(anchors: Rgb[]): Rgb[] {
  const lab = anchors.map(oklab);
  return Array.from({ length: 101 }, (_, score) => {
    if (score <= ramp_stops[0]) return anchors[0];
    let j = 0;
    while (score > ramp_stops[j + 1]) j++;
    const t = (score - ramp_stops[j]) / (ramp_stops[j + 1] - ramp_stops[j]);
    return from_oklab(lab[j].map((v, c) => v + (lab[j + 1][c] - v) * t) as Rgb);
  });
}

// A token's colour as a canvas needs it.
export function token(name: string): Rgb {
  const probe = document.createElement('i');
  probe.hidden = true;
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const [r, g, b] = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? ['0', '0', '0']).map(Number);
  probe.remove();
  return [r, g, b];
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgba(${r}, ${g}, ${b}, ${alpha})`;
