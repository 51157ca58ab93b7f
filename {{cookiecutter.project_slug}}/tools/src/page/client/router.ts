// Which view is open: it stands in the address after `#`, so that views can be linked, reloaded and
// gone back to.
import { useEffect, useState } from 'preact/hooks';

export interface Route {
  /** `#/runs/123` is `['runs', '123']`. */
  path: string[];
  query: URLSearchParams;
}

function readRoute(hash: string = location.hash): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  return { path: parts.length > 0 ? parts : ['runs'], query: new URLSearchParams(query) };
}

/**
 * Makes the address of a view.
 *
 * @param query - members that are '' or undefined are left out
 */
export function hrefOf(path: string[], query: Record<string, string | undefined> = {}): string {
  const members = Object.entries(query).filter((entry): entry is [string, string] => !!entry[1]);
  const text = new URLSearchParams(members).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

export function navigate(href: string): void {
  location.hash = href;
}

/** Changes the address without a new entry in the browser's history, for filters. */
export function replaceRoute(href: string): void {
  history.replaceState(null, '', href);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const update = (): void => setRoute(readRoute());
    addEventListener('hashchange', update);
    return () => removeEventListener('hashchange', update);
  }, []);
  return route;
}
