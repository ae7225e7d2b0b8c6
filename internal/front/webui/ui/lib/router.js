// Which page is shown. The address says all that a page needs, so that every view is a link, and back works.
import {useState, useEffect} from '../vendor/preact.js';
import {pages} from './place.js';

/** @type {Set<() => void>} */
const told = new Set();
const tell = () => { for (const f of [...told]) f(); };

/** Path below the UI, without query, its parts still encoded. */
export const path = () => location.pathname.slice(pages.pathname.length);

/**
 * Goes to a page. @param {string} to as href makes it
 * @param {{replace?: boolean, state?: any}} [o] replace: it takes the place of this one in the history
 */
export function go(to, o = {}) {
  if (o.replace) history.replaceState(o.state ?? history.state, '', to);
  else if (to !== location.pathname + location.search + location.hash) history.pushState(o.state ?? null, '', to);
  tell();
}

/** Follows links within the UI without loading the page anew. Returns how to stop. */
export function follow() {
  /** @param {MouseEvent} e */
  const click = (e) => {
    const a = e.target instanceof Element ? e.target.closest('a[href]') : null;
    if (!(a instanceof HTMLAnchorElement) || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    if (a.target || a.hasAttribute('download') || a.origin !== pages.origin || !a.pathname.startsWith(pages.pathname)) return;
    if (a.hash && a.pathname === location.pathname && a.search === location.search) return;
    e.preventDefault();
    go(a.pathname + a.search + a.hash);
  };
  addEventListener('click', click);
  addEventListener('popstate', tell);
  return () => { removeEventListener('click', click); removeEventListener('popstate', tell); };
}

/** The address as it is now; whoever uses it is drawn anew when it changes. */
export function usePlace() {
  const [place, set] = useState(() => ({path: path(), search: location.search}));
  useEffect(() => {
    const look = () => set({path: path(), search: location.search});
    told.add(look);
    look();
    return () => { told.delete(look); };
  }, []);
  return place;
}

/**
 * The query string, and how to change it: const [query, change] = useQuery(); change({state: 'halted'}).
 * A change takes the place of this address in the history, unless push is said; null removes.
 * @returns {[URLSearchParams, (with_: Record<string, string|string[]|null>, o?: {push?: boolean}) => void]}
 */
export function useQuery() {
  const {search} = usePlace();
  return [new URLSearchParams(search), (with_, o = {}) => {
    const next = new URL(location.href);
    for (const [name, value] of Object.entries(with_)) {
      next.searchParams.delete(name);
      for (const v of Array.isArray(value) ? value : [value]) if (v) next.searchParams.append(name, v);
    }
    go(next.pathname + next.search, {replace: !o.push});
  }];
}
