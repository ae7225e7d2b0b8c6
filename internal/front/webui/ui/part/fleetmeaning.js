// What the rules of a fleet work out to: groups with their capacity, sequences with their entries, tags.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {number, count, short} from '../lib/words.js';
import {useLoad} from '../lib/load.js';
import {Trouble} from './trouble.js';

/** @param {{ns: string, version: string}} p */
export function FleetMeaning({ns, version}) {
  const {data: m, error} = useLoad(`namespaces/${part(ns)}/fleet/meaning`, {version});
  if (!m) return html`<${Trouble} error=${error} what="What the rules mean is not shown" />`;
  return html`<div class="stack fleetmeaning">
    ${(m.confirm_above || m.approval?.by || m.approval?.start) && html`<ul class="small">
      ${m.confirm_above && html`<li>Above ${count(m.confirm_above, 'host')}, people are asked before a job starts.</li>`}
      ${m.approval?.by && html`<li>Whoever submits a job cannot approve it.</li>`}
      ${m.approval?.start && html`<li>Jobs wait for an approval before they start anything.</li>`}</ul>`}
    <section class="stack"><h2>Constraints</h2>${m.groups.length ? html`<${Groups} ns=${ns} list=${m.groups} more=${m.more_groups} />` : html`<p class="quiet">None: any number of hosts may be out of service at once.</p>`}</section>
    <section class="stack"><h2>Sequences</h2>${m.sequences.length ? m.sequences.map((/** @type {any} */ s) => html`<${Sequence} key=${s.name} ns=${ns} sequence=${s} />`) : html`<p class="quiet">None: all hosts may go at the same time.</p>`}</section>
    <section class="stack"><h2>Tags</h2>${m.tags.length ? html`<${Tags} ns=${ns} list=${m.tags} more=${m.more_tags} />` : html`<p class="quiet">None.</p>`}</section>
  </div>`;
}

/** A name that is an expression, as a link to its hosts. @param {{ns: string, name: string}} p */
const Name = ({ns, name}) => html`<a class="mono" href=${href(`fleet/${part(ns)}`, {tab: 'hosts', targets: name})}>${name}</a>`;

/** @param {{hosts: any}} p */
const Hosts = ({hosts}) => html`<code>${hosts.text}</code>${hosts.more ? html` <span class="small quiet">and ${number(hosts.more)} more</span>` : null}`;

/** @param {{ns: string, list: any[], more?: number}} p */
function Groups({ns, list, more}) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Constraints"><table>
    <thead><tr><th scope="col">group</th><th scope="col" class="end">limit</th><th scope="col" class="end">capacity</th><th scope="col" class="end">hosts</th><th scope="col">out of service now</th><th scope="col">members</th></tr></thead>
    <tbody>${list.map((g) => html`<tr key=${g.constraint + g.group}>
      <th scope="row"><${Name} ns=${ns} name=${g.group} /></th><td class="end">${g.limit}</td><td class="end">${number(g.capacity)}</td><td class="end">${number(g.members.count)}</td>
      <td>${g.out.count ? html`<span class="fleetmeaning-out">${g.out.count >= g.capacity ? 'no room: ' : ''}${number(g.out.count)} of ${number(g.capacity)}</span> <${Hosts} hosts=${g.out} />` : html`<span class="quiet">none</span>`}</td>
      <td><${Hosts} hosts=${g.members} /></td></tr>`)}</tbody>
  </table></div>${more ? html`<p class="small quiet">${count(more, 'more group')}.</p>` : null}`;
}

/** @param {{ns: string, sequence: any}} p */
function Sequence({ns, sequence}) {
  return html`<div class="stack"><h3>${sequence.name}</h3><ol class="fleetmeaning-entries">${sequence.entries.map((/** @type {any} */ e, /** @type {number} */ i) => html`<li key=${i}>
    <p><${Name} ns=${ns} name=${e.name} /> <span class="quiet num">${count(e.hosts.count, 'host')}</span></p>
    ${gate(e) && html`<p class="small">${gate(e)}</p>`}</li>`)}</ol></div>`;
}

/** @param {any} e */
function gate(e) {
  const parts = [];
  if (e.ramp) parts.push(`in stages of up to ${e.ramp.join(', ')}`);
  if (e.max_failures) parts.push(`at most ${e.max_failures} may fail`);
  if (e.pause) parts.push(`then a pause of ${short(e.pause)}`);
  if (e.approve) parts.push('then an approval');
  return parts.join('; ');
}

/** @param {{ns: string, list: any[], more?: number}} p */
function Tags({ns, list, more}) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Tags"><table>
    <thead><tr><th scope="col">tag</th><th scope="col" class="end">hosts</th><th scope="col">which</th></tr></thead>
    <tbody>${list.map((t) => html`<tr key=${t.name}><th scope="row"><${Name} ns=${ns} name=${t.name} /></th><td class="end">${number(t.hosts.count)}</td><td><${Hosts} hosts=${t.hosts} /></td></tr>`)}</tbody>
  </table></div>${more ? html`<p class="small quiet">${count(more, 'more tag')}.</p>` : null}`;
}
