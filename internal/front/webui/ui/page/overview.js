// The first page: what goes on.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useTopic} from '../lib/hub.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {When} from '../part/when.js';

export function Overview() {
  const {state, connection} = useTopic('jobs', {limit: '50'}, (_, m) => m.page);
  return html`<${Page} title="Overview" connection=${connection}>
    <div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
      <thead><tr><th scope="col">job</th><th scope="col">state</th><th scope="col">what</th><th scope="col">who</th><th scope="col">since</th></tr></thead>
      <tbody>${state?.jobs.map((/** @type {any} */ j) => html`<tr key=${j.id}>
        <td><a class="mono" href=${href(`jobs/${part(j.id)}`)}>${j.id}</a></td><td><${Mark} state=${j.state} /></td>
        <td><code>${j.command}</code></td><td>${j.by}</td><td><${When} at=${j.submitted} /></td></tr>`)}</tbody>
    </table></div>
  </${Page}>`;
}
