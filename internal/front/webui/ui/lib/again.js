// Asking again when a job has gone on: at most once a second, and not while nobody looks.
import {useEffect, useRef} from '../vendor/preact.js';
import {get} from './api.js';
import {part} from './place.js';

const over = new Set(['succeeded', 'failed', 'cancelled']);

/**
 * @param {string} job @param {any} version what changes as the job goes on; undefined: it is asked for
 * @param {() => void} again
 */
export function useAgain(job, version, again) {
  const timer = useRef(0), told = useRef('');
  const key = version === undefined ? '' : JSON.stringify(version);
  useEffect(() => {
    if (key && told.current && key !== told.current) timer.current ||= setTimeout(() => { timer.current = 0; again(); }, 1000);
    told.current = key;
  }, [key]);
  useEffect(() => () => { clearTimeout(timer.current); timer.current = 0; }, [job]);
  useEffect(() => {
    if (version !== undefined) return undefined;
    let was = '', t = 0;
    const stop = new AbortController();
    const look = async () => {
      try {
        const j = document.hidden ? null : await get(`jobs/${part(job)}`, undefined, stop.signal);
        const now = j && JSON.stringify([j.counts, j.running, j.generation]);
        if (now && was && now !== was) again();
        was = now || was;
        if (j && over.has(j.state)) return;
      } catch { /* the page says that the server is away */ }
      if (!stop.signal.aborted) t = setTimeout(look, 2000);
    };
    void look();
    return () => { stop.abort(); clearTimeout(t); };
  }, [job, version === undefined]);
}
