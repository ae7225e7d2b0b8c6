// The hosts of a job as a table of which only what is looked at is there.
import {html, useState, useEffect, useMemo, useRef} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {clean} from '../lib/clean.js';
import {count} from '../lib/words.js';
import {about} from './grid.js';
import {Mark} from './mark.js';

const rowHeight = 40, shownRows = 14;

/** @param {{model: import('../lib/job.js').Model, id: string, shown: string[], text: string}} p */
export function HostList({model, id, shown, text}) {
  const hosts = /** @type {import('../lib/job.js').Columns} */ (model.hosts), board = model.board;
  const [version, set] = useState(0);
  const [top, scroll] = useState(0);
  const frame = useRef(0);
  useEffect(() => model.on('cells', () => { // at most once a frame, and only while it is looked at
    frame.current ||= requestAnimationFrame(() => { frame.current = 0; set((n) => n + 1); });
  }), [model]);
  const want = text.trim().toLowerCase();
  const all = useMemo(() => {
    const out = [];
    for (let i = 0; i < hosts.names.length; i++) if ((!shown.length || shown.includes(board.states[hosts.state[i]])) && (!want || hosts.names[i].toLowerCase().includes(want))) out.push(i);
    return out;
  }, [hosts, shown.length ? version : 0, shown.join(), want]);
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight) - 4, all.length - shownRows - 8)), some = all.slice(first, first + shownRows + 8);
  return html`<div class="hostlist" role="region" tabindex="0" aria-label="Hosts as a list" onScroll=${(/** @type {any} */ e) => scroll(e.currentTarget.scrollTop)}>
    <table aria-rowcount=${all.length + 1}><caption class="unseen">${count(all.length, 'host')}</caption>
      <thead><tr aria-rowindex="1"><th scope="col">host</th><th scope="col">state</th></tr></thead>
      <tbody>
        ${first > 0 && html`<tr aria-hidden="true" class="hostlist-space"><td colspan="2" style=${{height: `${first * rowHeight}px`}}></td></tr>`}
        ${some.map((i, k) => { const a = about(model, i); return html`<tr key=${i} aria-rowindex=${first + k + 2}><td class="cut"><a class="mono" href=${href(`jobs/${part(id)}/hosts/${part(a.name)}`)}>${clean(a.name)}</a></td><td class="cut"><${Mark} state=${a.state}>${a.text}</${Mark}></td></tr>`; })}
        ${first + some.length < all.length && html`<tr aria-hidden="true" class="hostlist-space"><td colspan="2" style=${{height: `${(all.length - first - some.length) * rowHeight}px`}}></td></tr>`}
      </tbody></table>
    ${!all.length && html`<p class="quiet">No such host.</p>`}
  </div>`;
}
