import { useEffect, useState } from 'preact/hooks';

import { set_query } from './router';

const system = matchMedia('(prefers-color-scheme: dark)');
const readers = new Set<() => void>();
system.addEventListener('change', () => readers.forEach((r) => r()));

export const is_dark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : system.matches;
};

export function toggle_theme() {
  const theme = is_dark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('muster-theme', theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  if (new URLSearchParams(location.search).has('theme')) set_query({ theme });
  readers.forEach((r) => r());
}

// For canvases, which must be drawn again: 'dark' or 'light', as it is now.
export function use_theme(): 'dark' | 'light' {
  const [, again] = useState(0);
  useEffect(() => {
    const redraw = () => again((n) => n + 1);
    readers.add(redraw);
    return () => void readers.delete(redraw);
  }, []);
  return is_dark() ? 'dark' : 'light';
}
