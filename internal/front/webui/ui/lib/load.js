// What is asked of the API: again when the question changes, when somebody signs in, or when it is said. What was there stays
// until the new is, so that nothing jumps.
import {useState, useEffect, useCallback, useRef} from '../vendor/preact.js';
import {get} from './api.js';
import {onSignedIn} from './signed.js';

/**
 * A question of any form. What is not wanted any more is given up.
 * @template T
 * @param {((signal: AbortSignal) => Promise<T>)|null} ask null: nothing is asked now
 * @param {string} about what it is about: the same text asks the same
 * @param {number} [pause] in milliseconds before it is asked, so that typing asks once
 * @returns {{data?: T, error?: any, loading: boolean, again: () => void}}
 */
export function useAsking(ask, about, pause = 0) {
  const [got, set] = useState(/** @type {{data?: T, error?: any, key?: string}} */ ({}));
  const [n, count] = useState(0);
  const again = useCallback(() => count((/** @type {number} */ was) => was + 1), []);
  const key = `${n} ${about}`, not = !ask;
  const now = useRef(ask);
  now.current = ask;
  useEffect(() => { onSignedIn.add(again); return () => { onSignedIn.delete(again); }; }, []);
  useEffect(() => {
    if (not) { set({}); return undefined; }
    const stop = new AbortController();
    const begin = () => now.current?.(stop.signal).then((data) => { if (!stop.signal.aborted) set({data, key}); },
      (error) => { if (!stop.signal.aborted) set((was) => ({data: was.data, error, key})); });
    if (!pause) { void begin(); return () => stop.abort(); }
    const timer = setTimeout(begin, pause);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [key, not]);
  return {data: got.data, error: got.error, loading: !not && got.key !== key, again};
}

/** Something of the API. @param {string|null} path below /api/v1/; null: nothing is asked @param {Record<string, any>} [query] @returns {{data?: any, error?: any, loading: boolean, again: () => void}} */
export const useLoad = (path, query) => useAsking(path === null ? null : (signal) => get(path, query, signal), JSON.stringify([path, query]));

const lookEvery = 5000; // ms

/** The same, asked again and again while somebody looks: for what has no stream. @param {string|null} path @param {Record<string, any>} [query] */
export function useLook(path, query) {
  const got = useLoad(path, query);
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) got.again(); }, lookEvery);
    return () => clearInterval(t);
  }, [got.again]);
  return got;
}
