// The hosts that an expression means, and where each stands.
import {html, useState, useEffect, useRef} from '../vendor/preact.js';
import {get} from '../lib/api.js';
import {href, part} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {number} from '../lib/words.js';
import {Expression} from './expression.js';
import {Trouble} from './trouble.js';

const page = 200;

/** @param {{ns: string}} p */
export function FleetHosts({ns}) {
  const [query, change] = useQuery();
  const [text, setText] = useState(query.get('targets') ?? 'all');
  const inAddress = query.get('targets') ?? 'all';
  const mine = useRef(inAddress); // what was put into the address from here: who types on meanwhile is not taken back to it
  useEffect(() => { if (inAddress !== mine.current) { mine.current = inAddress; setText(inAddress); } }, [inAddress]); // a link, or the way back
  useEffect(() => {
    const timer = setTimeout(() => {
      const now = text.trim() || 'all';
      if (now === inAddress) return;
      mine.current = now;
      change({targets: now === 'all' ? null : now});
    }, 200);
    return () => clearTimeout(timer);
  }, [text]);
  const [got, set] = useState(/** @type {{hosts: any[], more: boolean, count: number}|null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  /** @param {string} [after] @param {AbortSignal} [signal] */
  const ask = async (after, signal) => {
    try {
      const a = await get(`namespaces/${part(ns)}/hosts`, {targets: inAddress, limit: page, details: true, after}, signal);
      set((was) => ({hosts: after && was ? [...was.hosts, ...a.details] : a.details ?? [], more: Boolean(a.more), count: a.count}));
      setError(null);
    } catch (e) { if (!signal?.aborted) { if (after) setError(e); else set(null); } } // the box says what is wrong with an expression
  };
  useEffect(() => {
    const gone = new AbortController();
    void ask(undefined, gone.signal);
    return () => gone.abort();
  }, [ns, inAddress]);
  return html`<div class="stack">
    <${Expression} ns=${ns} label="Target expression" value=${text} onChange=${setText} />
    ${got && html`<p><a class="button" href=${href(`new/${part(ns)}`, {targets: inAddress})}>New job on these</a></p>
    <div class="scroll" tabindex="0" role="region" aria-label="Hosts"><table class="fleethosts">
      <thead><tr><th scope="col">host</th><th scope="col">tags</th><th scope="col">counts in</th><th scope="col">goes in</th><th scope="col">reached</th></tr></thead>
      <tbody>${got.hosts.map((h) => html`<tr key=${h.host}><th scope="row"><a class="mono" href=${href(`hosts/${part(ns)}/${part(h.host)}`)}>${h.host}</a></th>
        <td>${h.tags?.map((/** @type {string} */ t) => html`<a key=${t} class="mono fleethosts-tag" href=${href(`fleet/${part(ns)}`, {tab: 'hosts', targets: '$' + t})}>$${t}</a> `)}</td>
        <td class="mono">${h.groups?.join(', ')}</td><td>${h.sequences?.join(', ')}</td><td class="mono">${reached(h.ssh)}</td></tr>`)}</tbody>
    </table></div>
    ${got.more && html`<p><button type="button" onClick=${() => ask(got.hosts[got.hosts.length - 1].host)}>Show ${number(Math.min(page, got.count - got.hosts.length))} more of ${number(got.count)}</button></p>`}`}
    <${Trouble} error=${error} what="No more hosts are shown" />
  </div>`;
}

/** @param {any} [s] */
function reached(s = {}) {
  const at = [s.user && s.user + '@', s.address, s.port && ':' + s.port].filter(Boolean).join('');
  return [at, s.jump?.length && 'by ' + s.jump.join(','), s.pool && 'pool ' + s.pool, s.transport].filter(Boolean).join(' ');
}
