// Constraints as gauges: how much room there is, and who takes it up.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {clean} from '../lib/clean.js';
import {number, count} from '../lib/words.js';
import {useModel} from '../lib/job.js';

const most = 12;

/** Hosts that take up room, as links. @param {{holders: any[], namespace: string, n?: number}} p */
export const Holders = ({holders, namespace, n = 6}) => html`${holders.slice(0, n).map((h, i) => html`${i > 0 && ', '}<a class="mono" title=${clean(h.why ?? '')} href=${href(`hosts/${part(namespace)}/${part(h.host)}`)}>${clean(h.host)}</a>`)}${holders.length > n && `, and ${count(holders.length - n, 'more')}`}`;

/** @param {{model: import('../lib/job.js').Model}} p */
export function Gauges({model}) {
  useModel(model, 'standing');
  const [all, set] = useState(false);
  const rooms = model.board.constraints;
  // Those without room first, then those where something is out: they are what one looks for.
  const order = [...rooms].sort((a, b) => (b.out >= b.capacity ? 1 : 0) - (a.out >= a.capacity ? 1 : 0) || b.out / Math.max(1, b.capacity) - a.out / Math.max(1, a.capacity));
  if (!rooms.length) return html`<p class="quiet">${model.board.read_only ? 'It changes nothing, and takes up no room.' : ['succeeded', 'failed', 'cancelled'].includes(model.board.job.state) ? 'It is over, and takes up no room.' : 'No constraint is about its hosts.'}</p>`;
  return html`<ul class="gauges">${(all ? order : order.slice(0, most)).map((r) => {
    const left = Math.max(0, r.capacity - r.out), held = r.out - r.running;
    return html`<li key=${r.constraint + ' ' + r.group} class="gauges-room">
      <span class="row"><strong class="mono">${clean(r.group)}</strong><span class="small quiet">${clean(r.limit)} of ${count(r.members, 'host')}${r.frozen ? ', by rules that are not in force any more' : ''}</span></span>
      <div class="gauges-bar" role="img" aria-label=${`${number(r.out)} of ${number(r.capacity)} places taken`}>${r.capacity <= 40
        ? Array.from({length: Math.max(r.capacity, r.out)}, (_, i) => html`<span key=${i} data-state=${i < held ? 'failed' : i < r.out ? 'running' : null} data-over=${i >= r.capacity ? '' : null}></span>`)
        : html`<span data-state="failed" style=${{flexGrow: held}}></span><span data-state="running" style=${{flexGrow: r.running}}></span><span style=${{flexGrow: left}}></span>`}</div>
      <span class="small">${number(r.out)} of ${number(r.capacity)} out${r.running > 0 && html`, ${number(r.running)} running`}${held > 0 && html`, ${number(held)} held`}${left === 0 ? html`: <strong>no room</strong>` : html`, room for ${number(left)}`}${r.holders.length > 0 && html`. <span class="quiet">By <${Holders} holders=${r.holders} namespace=${model.board.job.namespace} /></span>`}</span>
    </li>`;
  })}</ul>
  ${rooms.length > most && html`<button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => set(!all)}>${all ? 'Fewer' : `All ${number(rooms.length)}`}</button>`}`;
}
