// What is live where: apps by environments, as hosts proved it.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {useLook} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {matrix, stands} from '../lib/live.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {Trouble} from '../part/trouble.js';
import {Version} from '../part/release.js';

/** One app in one environment. @param {{cell: any, to: string, label: string}} p */
function Cell({cell, to, label}) {
  if (!cell) return html`<span class="quiet">none</span>`;
  return html`<a class="releases-cell" href=${to}><span class="unseen">${label}: </span>
    ${cell.versions.map((/** @type {any} */ v) => html`<span key=${v.version + v.config} class="releases-version">${v.version ? html`<${Version} version=${v.version} config=${v.several ? v.config : ''} />` : html`<span class="quiet">nothing</span>`}
      <span class="small num">${count(v.hosts, 'host')}</span></span>`)}
    ${stands.filter(([name]) => cell[name] > 0).map(([name, state, text]) => html`<${Mark} key=${name} state=${state}><span class="small">${number(cell[name])} ${text}</span></${Mark}>`)}
  </a>`;
}

/** @param {{ns: string, of: any}} p */
const Matrix = ({ns, of}) => html`<div class="scroll" tabindex="0" role="region" aria-label=${`Releases of ${ns}`}><table class="releases">
  <thead><tr><th scope="col">app</th>${of.envs.map((/** @type {string} */ e) => html`<th key=${e} scope="col">${clean(e)}</th>`)}</tr></thead>
  <tbody>${of.apps.map((/** @type {any} */ a) => html`<tr key=${a.app}><th scope="row" class="mono">${clean(a.app)}</th>
    ${of.envs.map((/** @type {string} */ e) => html`<td key=${e}><${Cell} cell=${a.cells.get(e)} to=${href(`releases/${part(ns)}/${part(a.app)}/${part(e)}`)} label=${clean(`${a.app} in ${e}`)} /></td>`)}</tr>`)}</tbody>
</table></div>`;

export function Releases() {
  const [query, change] = useQuery();
  const namespace = query.get('namespace') ?? '';
  const [text, type] = useState(query.get('app') ?? '');
  const {data, error} = useLook('live', {namespace});
  const spaces = data && matrix(data.live, text);
  return html`<${Page} title=${namespace ? `Releases in ${namespace}` : 'Releases'} up=${{href: href(''), text: 'Overview'}}>
    <p class="row"><label>App <input type="search" autocomplete="off" spellcheck="false" value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} onChange=${() => change({app: text || null})} /></label>
      <span class="small quiet">What is live on how many hosts, as they said at the end of jobs. Nobody is asked now.</span></p>
    <${Trouble} error=${error} what="What is live is not shown as it is now" />
    ${data?.unreadable?.length > 0 && html`<p class="note">Missing, since they cannot be read now: ${data.unreadable.join(', ')}</p>`}
    ${spaces?.map((/** @type {any} */ s) => html`<section key=${s.ns} class="card" aria-label=${s.ns}>${(spaces.length > 1 || namespace) && html`<h2>${s.ns}</h2>`}<${Matrix} ns=${s.ns} of=${s} /></section>`)}
    ${spaces && !spaces.length && (data.live.length ? html`<p class="quiet">No app has that in its name.</p>` : html`<div class="note"><p>Nothing was deployed yet${namespace && ` in ${namespace}`}, or you may not see it.</p><p class="small">Next: <code>sluice deploy APP --env ENV -t EXPR</code></p></div>`)}
  </${Page}>`;
}
