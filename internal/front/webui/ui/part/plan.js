// A plan as a picture: tracks side by side, their stages as boxes as wide as they have hosts, gates between them, and what
// holds them back.
import {html} from '../vendor/preact.js';
import {number, count, short} from '../lib/words.js';

/** @param {{plan: any, readOnly: boolean}} p */
export function Plan({plan, readOnly}) {
  return html`<div class="stack plan">
    <p>${count(plan.count, 'host')} in ${count(stages(plan), 'stage')}${plan.tracks.length > 1 ? ` on ${count(plan.tracks.length, 'track')}, side by side` : ''}.
      ${plan.retired_count ? ` Left out, because retired: ${plan.retired.join(', ')}${plan.retired_count > plan.retired.length ? ' and others' : ''}.` : ''}</p>
    ${plan.tracks.map((/** @type {any} */ t) => html`<${Track} key=${t.name} track=${t} />`)}
    <h3>Constraints</h3>
    ${readOnly ? html`<p class="quiet">It changes nothing, so it takes no capacity.</p>` : plan.constraints.length ? html`<${Limits} list=${plan.constraints} more=${plan.more_constraints} />` : html`<p class="quiet">None holds it back: all hosts of a stage may be out of service at once.</p>`}
    ${!readOnly && plan.worst?.length > 0 && html`<h3>Most hosts that can be out at once</h3><${Worst} list=${plan.worst} more=${plan.more_worst} />`}
  </div>`;
}

/** @param {any} plan */
const stages = (plan) => plan.tracks.reduce((/** @type {number} */ n, /** @type {any} */ t) => n + t.stages.filter((/** @type {any} */ s) => s.count > 0).length, 0);

/** @param {{track: any}} p */
function Track({track}) {
  return html`<section class="stack" aria-label=${`Track ${track.name}`}><h3 class="plan-track">${track.name}</h3>
    <ol class="plan-lane">${track.stages.map((/** @type {any} */ s, /** @type {number} */ i) => {
    const said = gate(s, i === track.stages.length - 1);
    return html`${s.count > 0 && html`<li key=${i} class="plan-stage" style=${{flexGrow: 1 + Math.sqrt(s.count)}}>
        <p class="plan-name"><code>${s.name}</code></p><p class="num"><strong>${count(s.count, 'host')}</strong></p>
        <p class="small quiet plan-hosts">${s.hosts.join(', ')}${s.count > s.hosts.length ? ' …' : ''}</p></li>`}
      ${said && html`<li key=${`gate ${i}`} class="plan-gate small">${s.count ? 'then ' : 'first '}${said}</li>`}`;
  })}</ol></section>`;
}

/** What stands behind a stage. @param {any} s @param {boolean} last */
function gate(s, last) {
  if (last && !s.pause && !s.approve) return '';
  const parts = [];
  if (s.max_failures && !last) parts.push(`on if at most ${count(s.max_failures, 'host')} failed`);
  if (s.pause) parts.push(`a pause of ${short(s.pause)}`);
  if (s.approve) parts.push('an approval');
  return parts.join(', ') || 'on if all succeeded';
}

/** @param {{list: any[], more?: number}} p */
function Limits({list, more}) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Constraints"><table>
    <thead><tr><th scope="col">group</th><th scope="col" class="plan-end">limit</th><th scope="col" class="plan-end">capacity</th><th scope="col" class="plan-end">out now</th><th scope="col" class="plan-end">of this job</th><th scope="col" class="plan-end">members</th></tr></thead>
    <tbody>${list.map((c) => html`<tr key=${c.name + c.group}><th scope="row" class="plan-row"><code>${c.group}</code></th><td class="plan-end">${c.limit}</td><td class="plan-end"><strong>${number(c.capacity)}</strong></td>
      <td class="plan-end">${c.out ? html`<span class="plan-out">${number(c.out)}${c.out >= c.capacity ? ', no room' : ''}</span>` : '0'}</td><td class="plan-end">${number(c.targets)}</td><td class="plan-end">${number(c.members)}</td></tr>`)}</tbody>
  </table></div>${more ? html`<p class="small quiet">${count(more, 'more group')} that ${more === 1 ? 'holds' : 'hold'} it back less.</p>` : null}`;
}

/** @param {{list: any[], more?: number}} p */
function Worst({list, more}) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Most hosts that can be out at once"><table>
    <thead><tr><th scope="col">tag</th><th scope="col" class="plan-end">out at once</th><th scope="col" class="plan-end">of</th><th scope="col" class="plan-end">of this job</th></tr></thead>
    <tbody>${list.map((w) => html`<tr key=${w.tag}><th scope="row" class="plan-row"><code>$${w.tag}</code></th><td class="plan-end"><strong>${number(w.out)}</strong></td><td class="plan-end">${number(w.members)}</td><td class="plan-end">${number(w.targets)}</td></tr>`)}</tbody>
  </table></div>${more ? html`<p class="small quiet">${count(more, 'more tag')}.</p>` : null}`;
}
