// Tracks as lanes, their stages in order, and the gates between them.
import {html} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {number, count, outcomes} from '../lib/words.js';
import {useModel} from '../lib/job.js';
import {Segments} from './segments.js';
import {Mark} from './mark.js';
import {When} from './when.js';

/** @param {{model: import('../lib/job.js').Model}} p */
export function Lanes({model}) {
  useModel(model, 'cells', 'standing', 'board');
  const b = model.board;
  /** @type {Map<string, any[]>} */
  const tracks = new Map();
  b.stages.forEach((/** @type {any} */ s, /** @type {number} */ k) => tracks.set(s.track, [...(tracks.get(s.track) ?? []), {...s, k}]));
  return html`<ul class="lanes">${[...tracks].map(([track, stages]) => html`<li key=${track} class="lanes-track">
    ${tracks.size > 1 && html`<h3 class="lanes-name">${clean(track)}</h3>`}
    <ol class="lanes-stages" aria-label=${`Stages of ${clean(track)}`} tabindex=${stages.length > 4 ? '0' : null}>${stages.map((s) => {
      const tally = Object.fromEntries(b.states.map((/** @type {string} */ name, /** @type {number} */ i) => [name, model.counts.stages[s.k]?.[i] ?? 0]));
      const done = outcomes.filter((o) => o !== 'running' && o !== 'waiting').reduce((n, o) => n + (tally[o] ?? 0), 0);
      const waits = (b.job.gates ?? []).find((/** @type {any} */ g) => g.track === s.track && g.index === s.index);
      const gate = s.approve || s.pause;
      return html`<li key=${s.k} class="lanes-stage" data-open=${s.opened ? '' : null} style=${{flexGrow: Math.max(1, Math.log2(s.hosts + 1))}}>
        <div class="lanes-box"><span class="lanes-stage-name cut" title=${clean(s.stage)}>${clean(s.stage)}</span>
          ${s.hosts > 0 ? html`<${Segments} counts=${tally} total=${s.hosts} /><span class="small num">${number(done)} of ${count(s.hosts, 'host')}${!s.opened && ', not open yet'}</span>` : html`<span class="small quiet">no hosts</span>`}</div>
        ${gate && html`<div class="lanes-gate small">${waits ? html`<${Mark} state="paused">${waits.kind === 'approval' ? 'waits for approval' : html`pause${waits.until && html`, until <${When} at=${waits.until} />`}`}</${Mark}>`
          : html`<span class="quiet">${[s.pause && `pause ${s.pause}`, s.approve && 'approval'].filter(Boolean).join(', ')}</span>`}</div>`}
      </li>`;
    })}</ol></li>`)}</ul>`;
}
