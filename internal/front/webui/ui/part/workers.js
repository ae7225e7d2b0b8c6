// Workers: how they are, and how much they have to do.
import {html} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {number} from '../lib/words.js';
import {Mark} from './mark.js';
import {When} from './when.js';

/** A worker's health as a sign. @type {Record<string, string>} */
const signs = {connected: 'succeeded', draining: 'paused', lost: 'failed', invited: 'waiting'};

/** @param {{health: string}} p */
export const Health = ({health}) => html`<${Mark} state=${signs[health] ?? 'unknown'}>${health}</${Mark}>`;

/** @param {{workers: any[], more?: (w: any) => any}} p more: what stands beside each */
export const Workers = ({workers, more}) => html`<ul class="workers">${workers.map((w) => html`<li key=${w.worker}>
  <span class="row"><span class="mono workers-name">${clean(w.worker)}</span><${Health} health=${w.health} /><span class="small num">${number(w.running)} of ${number(w.limit)} at once</span></span>
  <span class="small quiet">${w.pools.length === 1 ? 'pool' : 'pools'} ${w.pools.join(', ')}${w.version && `, version ${w.version}`}${w.heard && html`, heard <${When} at=${w.heard} />`}</span>
  ${more?.(w)}
</li>`)}</ul>`;
