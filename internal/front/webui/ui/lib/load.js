// Something of the API that is asked for once: again when the question changes, when somebody signs in, or when it is said.
import {useState, useEffect, useCallback} from '../vendor/preact.js';
import {get} from './api.js';
import {onSignedIn} from './signed.js';

/**
 * What was there stays until the new is.
 * @param {string|null} path below /api/v1/; null: nothing is asked
 * @param {Record<string, any>} [query]
 * @returns {{data?: any, error?: any, loading: boolean, again: () => void}}
 */
export function useLoad(path, query) {
  const [got, set] = useState(/** @type {{data?: any, error?: any, key?: string}} */ ({}));
  const [n, count] = useState(0);
  const again = useCallback(() => count((/** @type {number} */ was) => was + 1), []);
  const key = JSON.stringify([path, query, n]);
  useEffect(() => { onSignedIn.add(again); return () => { onSignedIn.delete(again); }; }, []);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    get(path, query, stop.signal).then((data) => set({data, key}), (error) => { if (!stop.signal.aborted) set((was) => ({data: was.data, error, key})); });
    return () => stop.abort();
  }, [key]);
  return {data: got.data, error: got.error, loading: path !== null && got.key !== key, again};
}

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
