// The configuration that a release gives a host, key by key: what it is, which layers said so, and how it differs from another's.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {useLoad} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {rowsOf, fits} from '../lib/configuration.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Digest} from '../part/release.js';

const most = 300; // keys that are shown before all are wanted

/** A value; of a sealed one, that it is. @param {{value?: string, sealed?: boolean}} p */
const Value = ({value, sealed}) => value === undefined ? html`<span class="quiet">not there</span>` : sealed ? html`<span class="small"><strong>sealed</strong> <span class="quiet">${clean(value.replace(/^sealed /, ''))}</span></span>` : html`<code>${clean(value)}</code>`;

/** @param {{said: any[]}} p */
function Said({said}) {
  const counts = said.filter((s) => s.counts), rest = said.filter((s) => !s.counts);
  return html`<div class="configuration-said small">
    ${counts.map((s, i) => html`<div key=${i}><span class="mono">${clean(s.at)}</span>${counts.length > 1 && html` <code>${clean(s.value)}</code>`}</div>`)}
    ${rest.length > 0 && html`<details><summary>${count(rest.length, 'layer')} before ${rest.length === 1 ? 'it' : 'them'} said something else</summary><ul>${rest.map((s, i) => html`<li key=${i}><span class="mono">${clean(s.at)}</span> <code>${clean(s.value)}</code></li>`)}</ul></details>`}
  </div>`;
}

/** @param {{rows: any[], than: string, only: boolean, provenance: boolean}} p only: there are none but those that differ */
function Keys({rows, than, only, provenance}) {
  const [all, set] = useState(false);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Keys"><table class="configuration">
    <thead><tr><th scope="col">Key</th><th scope="col">Value</th>${than && html`<th scope="col">${than}</th>`}${provenance && html`<th scope="col">Said by</th>`}</tr></thead>
    <tbody>${(all ? rows : rows.slice(0, most)).map((r) => html`<tr key=${r.key} data-differs=${r.differs && !only ? '' : null}><th scope="row" class="mono">${clean(r.key)}${r.differs && html`<span class="unseen"> differs</span>`}</th>
      <td><${Value} value=${r.value} sealed=${r.sealed} /></td>${than && html`<td>${r.differs ? html`<${Value} value=${r.than} sealed=${r.thanSealed} />` : html`<span class="quiet">the same</span>`}</td>`}
      ${provenance && html`<td><${Said} said=${r.said ?? []} /></td>`}</tr>`)}</tbody>
  </table></div>
  ${rows.length > most && html`<p><button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => set(!all)}>${all ? 'Fewer' : `All ${number(rows.length)} keys`}</button></p>`}`;
}

/** @param {{c: any, host: string, change: (with_: any) => void}} p */
const Whose = ({c, host, change}) => html`<label>Host<select value=${host} onChange=${(/** @type {any} */ e) => change({host: e.currentTarget.value || null})}>
  <option value="">${c.own?.length ? 'most hosts' : 'all hosts'}</option>
  ${host && !c.own?.includes(host) && html`<option value=${host}>${host}</option>`}
  ${c.own?.map((/** @type {string} */ h) => html`<option key=${h} value=${h}>${h}</option>`)}</select></label>`;

/** What it can be compared with: the configuration of another host, or that of another release. @param {{c: any, list: any[], host: string, than: string, change: (with_: any) => void}} p */
const With = ({c, list, host, than, change}) => html`<label>Compare with<select value=${than} onChange=${(/** @type {any} */ e) => change({than: e.currentTarget.value || null})}>
  <option value="">nothing</option>
  ${c.own?.length > 0 && html`<optgroup label="Other hosts">${host && html`<option value="host:">most hosts</option>`}${c.own.filter((/** @type {string} */ h) => h !== host).map((/** @type {string} */ h) => html`<option key=${h} value=${`host:${h}`}>${h}</option>`)}</optgroup>`}
  ${list.length > 0 && html`<optgroup label="Other releases">${list.map((r) => html`<option key=${r.job} value=${`job:${r.job}`}>${r.version || 'back'}, ${r.job}${r.config === c.digest ? ' (the same)' : ''}</option>`)}</optgroup>`}
</select></label>`;

/** @param {{id: string}} p */
export function Configuration({id}) {
  const [query, change] = useQuery();
  const [text, type] = useState(query.get('text') ?? '');
  const host = query.get('host') ?? '', than = query.get('than') ?? '', only = query.has('only');
  const got = useLoad(`jobs/${part(id)}/configuration`, {host});
  const c = got.data;
  const releases = useLoad(c ? 'releases' : null, c && {namespace: c.namespace, app: c.app, env: c.env, limit: 50});
  const list = (releases.data?.releases ?? []).filter((/** @type {any} */ r) => r.job !== c?.job && (r.config || r.kind === 'rollback'));
  const ofHost = than.startsWith('host:'), to = than.slice(than.indexOf(':') + 1);
  const other = useLoad(!than ? null : ofHost ? `jobs/${part(id)}/configuration` : `jobs/${part(to)}/configuration`, {host: ofHost ? to : host});
  const words = !than || !other.data ? '' : ofHost ? (to || 'most hosts') : `${other.data.version}, ${to}`;
  const rows = c ? rowsOf(c, than ? other.data : undefined) : [];
  const shown = rows.filter((r) => fits(r, text) && (!only || !words || r.differs));
  const differ = rows.filter((r) => r.differs).length;
  return html`<${Page} title=${c ? `Configuration of ${clean(c.app)} ${clean(c.version)} in ${clean(c.env)}` : 'Configuration'} up=${{href: href(`jobs/${part(id)}`), text: `Job ${id}`}} head=${c && html`<span class="quiet">${c.host && host ? `of ${clean(c.host)}` : c.own?.length ? `as most hosts have it, such as ${clean(c.host)}` : 'the same on all hosts'}</span>`}>
    <${Trouble} error=${got.error} what="The configuration is not shown" />
    ${c && html`<section class="card" aria-label="Configuration">
      <div class="configuration-ask"><${Whose} c=${c} host=${host} change=${change} />
        <label>Find<input type="search" autocomplete="off" spellcheck="false" placeholder="key, value or file" value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} onChange=${() => change({text: text || null})} /></label>
        <${With} c=${c} list=${list} host=${host} than=${than} change=${change} />
        ${words && html`<label class="row"><input type="checkbox" checked=${only} onChange=${(/** @type {any} */ e) => change({only: e.currentTarget.checked ? 'yes' : null})} /> Only what differs</label>`}
        <span class="small quiet"><${Digest} digest=${c.digest} what="the configuration" /></span></div>
      <${Trouble} error=${other.error} what="There is nothing to compare with" />
      <p class="small" role="status">${count(shown.length, 'key')}${shown.length === rows.length ? '' : ` of ${number(rows.length)}`}${words && `; ${differ ? `${number(differ)} ${differ === 1 ? 'differs' : 'differ'}` : 'none differs'}`}.${c.provenance ? '' : ' Which layers said them was not kept with this release.'}</p>
      ${shown.length > 0 && html`<${Keys} rows=${shown} than=${words} only=${only} provenance=${c.provenance} />`}
    </section>`}
  </${Page}>`;
}
