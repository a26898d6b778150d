import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';

// The path says which page, the query what is seen of it; both are the browser's, so that back undoes and a
// link shows what its sender saw.

const readers = new Set<() => void>();
const tell = () => readers.forEach((r) => r());
addEventListener('popstate', tell);

export function go(to: string) {
  history.pushState(null, '', to);
  scrollTo(0, 0);
  tell();
}

// Changes the query in place; nothing removes a key. A filter that is being typed replaces its own entry.
export function set_query(change: Record<string, string | null>, replace = true) {
  const query = new URLSearchParams(location.search);
  for (const [key, text] of Object.entries(change)) {
    if (text) query.set(key, text);
    else query.delete(key);
  }
  const text = query.toString();
  const to = location.pathname + (text ? `?${text}` : '');
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  tell();
}

export function use_location(): { path: string; query: URLSearchParams } {
  const [, again] = useState(0);
  useEffect(() => {
    const redraw = () => again((n) => n + 1);
    readers.add(redraw);
    return () => void readers.delete(redraw);
  }, []);
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

// The theme of a shared link goes along with its reader.
export function href(to: string): string {
  const theme = new URLSearchParams(location.search).get('theme');
  return theme ? `${to}${to.includes('?') ? '&' : '?'}theme=${theme}` : to;
}

type Attributes = { to: string; class?: string; children?: ComponentChildren; [more: string]: unknown };

export function Link({ to, children, ...more }: Attributes) {
  const follow = (e: MouseEvent) => {
    if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    go(href(to));
  };
  return <a href={href(to)} onClick={follow} {...more}>{children}</a>;
}
