// A question that is asked anew when what it is about changes: after a pause, so that typing asks once; what is not wanted
// any more is given up. The last answer stays until the next one is there, so that nothing jumps.
import {useState, useEffect, useRef} from '../vendor/preact.js';

/**
 * @template T
 * @param {((signal: AbortSignal) => Promise<T>)|null} ask null: nothing is asked now
 * @param {string} about what it is about; the same text asks the same
 * @param {number} [pause] in milliseconds
 * @returns {{data: T|undefined, error: any, about: string|undefined, asking: boolean, again: () => void}} about: what the answer is to
 */
export function useAsking(ask, about, pause = 0) {
  const [got, set] = useState(/** @type {{data?: T, error?: any, about?: string}} */ ({}));
  const [turn, again] = useState(0);
  const asks = useRef(ask);
  asks.current = ask;
  const not = !ask;
  useEffect(() => {
    if (not) { set({}); return undefined; }
    const gone = new AbortController();
    const timer = setTimeout(() => {
      const now = asks.current;
      if (!now) return;
      now(gone.signal).then((data) => { if (!gone.signal.aborted) set({data, about}); },
        (error) => { if (!gone.signal.aborted) set((was) => ({data: was.data, error, about})); });
    }, pause);
    return () => { clearTimeout(timer); gone.abort(); };
  }, [about, not, turn]);
  return {data: got.data, error: got.error, about: got.about, asking: !not && got.about !== about, again: () => again(turn + 1)};
}
