// The versions of a fleet, newest first: who, when, why.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {number} from '../lib/words.js';
import {When} from './when.js';
import {Compare} from './fleetdiff.js';

const many = 200;

/** @param {{ns: string, list: any[]}} p oldest first */
export function FleetVersions({ns, list}) {
  const [shown, show] = useState(many);
  const newest = [...list].reverse().slice(0, shown);
  const page = `fleet/${part(ns)}`;
  return html`<div class="stack">
    ${list.length > 1 && html`<${Compare} ns=${ns} list=${list} />`}
    <div class="scroll" tabindex="0" role="region" aria-label="Versions"><table>
      <thead><tr><th scope="col">version</th><th scope="col">applied</th><th scope="col">by</th><th scope="col">hosts</th><th scope="col">note</th><th scope="col">look</th></tr></thead>
      <tbody>${newest.map((v) => html`<tr key=${v.version}><td class="num">${v.version}</td><td><${When} at=${v.time} /></td><td>${v.by}</td><td>${number(v.hosts)}</td><td>${v.note}</td>
        <td><a href=${href(page, {version: v.version})}>rules<span class="unseen"> of version ${v.version}</span></a>${v.version > 1 && html`, <a href=${href(page, {from: v.version - 1, to: v.version})}>differences<span class="unseen"> of version ${v.version}</span></a>`}</td></tr>`)}</tbody>
    </table></div>
    ${newest.length < list.length && html`<p><button type="button" onClick=${() => show(shown + many)}>Show older ones</button></p>`}
  </div>`;
}
