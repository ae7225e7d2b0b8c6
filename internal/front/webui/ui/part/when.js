// A moment as people say it, with the exact one on hover and for assistive technology. One clock for the whole page.
import {html, useState, useEffect} from '../vendor/preact.js';
import {since, moment, lasting} from '../lib/words.js';

/** @type {Set<(now: number) => void>} */
const told = new Set();
let timer = 0;

/** The time now, anew each second while somebody looks. */
export function useNow() {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    told.add(set);
    timer ||= setInterval(() => { if (!document.hidden) for (const f of [...told]) f(Date.now()); }, 1000);
    return () => {
      told.delete(set);
      if (!told.size) { clearInterval(timer); timer = 0; }
    };
  }, []);
  return now;
}

/** @param {{at: string|number}} p */
export function When({at}) {
  const now = useNow();
  return html`<time dateTime=${new Date(at).toISOString()} title=${moment(at)}>${since(at, now)}</time>`;
}

/** How long something has gone on, or went on. @param {{from: string|number, to?: string|number}} p */
export function Lasting({from, to}) {
  const now = useNow();
  return html`<span class="num">${lasting((to ? new Date(to).getTime() : now) - new Date(from).getTime())}</span>`;
}
