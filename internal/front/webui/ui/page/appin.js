// One app in one environment: what is live on each host, and its releases, with the way back of each.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {get} from '../lib/api.js';
import {useQuery} from '../lib/router.js';
import {useLook} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {count, lasting, number} from '../lib/words.js';
import {cellOf, standing} from '../lib/live.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {Trouble} from '../part/trouble.js';
import {When} from '../part/when.js';
import {useMay} from '../part/may.js';
import {Validation, Version} from '../part/release.js';
import {RollBack} from '../part/rollback.js';

const most = 50; // hosts of a version that are shown before all are wanted

/** Sign and words of a host. @type {Record<string, [string, string]>} */
const words = {live: ['succeeded', 'live'], unknown: ['unknown', 'not known'], changed: ['paused', 'changed by hand'], failed: ['failed', 'may not be well']};

/** @param {{ns: string, l: any}} p */
function OnHost({ns, l}) {
  const [state, text] = words[standing(l)];
  return html`<li class="appin-host"><a class="mono" href=${href(`hosts/${part(ns)}/${part(l.host)}`)}>${clean(l.host)}</a>
    <${Mark} state=${state}>${text}</${Mark}>
    <span class="small">${l.since && html`since <${When} at=${l.since} />`}${l.by && html` by ${clean(l.by)}`}${l.job && html` in <a class="mono" href=${href(`jobs/${part(l.job)}/hosts/${part(l.host)}`)}>${l.job}</a>`}${l.before && html`<span class="quiet">, before it <span class="mono">${clean(l.before)}</span></span>`}</span>
    ${l.reason && html`<span class="small appin-reason">${l.state === 'unknown' && l.version ? 'That was proved last; since then: ' : ''}${clean(l.reason)}</span>`}</li>`;
}

/** @param {{ns: string, v: any}} p */
function OfVersion({ns, v}) {
  const [all, set] = useState(false);
  const commit = v.list.find((/** @type {any} */ l) => l.commit)?.commit;
  const name = v.version ? clean(v.version) : 'nothing';
  return html`<section class="stack appin-version" aria-label=${`Hosts with ${name}${v.several && v.config ? `, configuration ${v.config.slice(7, 15)}` : ''}`}>
    <h3 class="row">${v.version ? html`<${Version} version=${v.version} config=${v.config} />` : html`<span>nothing</span>`} <span class="num">${count(v.hosts, 'host')}</span>${commit && html` <span class="small quiet mono" title=${commit.id}>${clean(commit.id.slice(0, 12))}</span>`}</h3>
    <ul>${(all ? v.list : v.list.slice(0, most)).map((/** @type {any} */ l) => html`<${OnHost} key=${l.host} ns=${ns} l=${l} />`)}</ul>
    ${v.list.length > most && html`<p><button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => set(!all)}>${all ? 'Fewer' : `All ${number(v.list.length)} hosts`}</button></p>`}
  </section>`;
}

/** @param {any} r */
const title = (r) => r.kind === 'rollback' ? `back to ${r.version || 'what each host had'}` : r.version;

/** @param {{ns: string, r: any, may: any}} p */
const One = ({ns, r, may}) => html`<li class="appin-release">
  <${Mark} state=${r.state} />
  <div class="stack appin-what">
    <p><a class="mono release-version" href=${href(`jobs/${part(r.job)}`)}>${clean(title(r))}</a>${r.config && html` <span class="small quiet mono" title=${`configuration ${r.config}`}>${r.config.slice(7, 15)}</span>`}
      ${r.commit && html` <span class="small">commit <span class="mono" title=${r.commit.id}>${clean(r.commit.id.slice(0, 12))}</span></span>`}</p>
    <p class="small quiet">${r.kind} by ${clean(r.by)}, <${When} at=${r.submitted} />${r.ended && `, took ${lasting(new Date(r.ended).getTime() - new Date(r.submitted).getTime())}`} · <span class="mono">${r.job}</span></p>
    <p class="small">${r.live ? html`<strong>live on ${count(r.live, 'host')}</strong>` : 'live nowhere'}; it was for ${count(r.hosts, 'host')}, changed ${number(r.changed)}${r.failed ? `, failed on ${number(r.failed)}` : ''}${r.measured ? `. From its commit until it was live: ${lasting(r.latency_ms)} for half of the hosts, ${lasting(r.latency_p99_ms)} for 99 of 100` : ''}</p>
    ${r.validation && html`<p class="small"><${Validation} v=${r.validation} /></p>`}
  </div>
  <div class="row appin-acts">
    ${r.kind === 'deploy' && r.changed > 0 && html`<${RollBack} job=${r.job} may=${may} label=${`${r.version}, job ${r.job}`} />`}
    ${r.kind === 'deploy' && html`<a class="button" href=${href(`new/${part(ns)}`, {like: r.job})}>Deploy again<span class="unseen"> ${clean(r.version)}, job ${r.job}</span></a>`}
  </div>
</li>`;

/** How long releases took, by day or week; of one alone it stands beside it. @param {{ns: string, app: string, env: string}} p */
function OverTime({ns, app, env}) {
  const {data, error} = useLook('latencies', {namespace: ns, app, env, limit: 12});
  /** @type {any[]} */
  const list = data?.latencies ?? [];
  if (!error && list.reduce((n, l) => n + l.releases, 0) < 2) return null;
  return html`<details><summary>From commit to live, over time</summary>
    <${Trouble} error=${error} what="How long it took is not shown as it is now" />
    ${list.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="From commit to live"><table>
      <thead><tr><th scope="col">${list[0].days === 7 ? 'week from' : 'day'} (UTC)</th><th scope="col" class="num">releases</th><th scope="col" class="num">hosts</th><th scope="col">half of the hosts</th><th scope="col">99 of 100</th></tr></thead>
      <tbody>${list.map((l) => html`<tr key=${l.from}><td>${l.from.slice(0, 10)}</td><td class="num">${number(l.releases)}</td><td class="num">${number(l.hosts)}</td><td>${lasting(l.latency_ms)}</td><td>${lasting(l.latency_p99_ms)}</td></tr>`)}</tbody>
    </table></div>`}
  </details>`;
}

/** @param {{ns: string, app: string, env: string}} p */
export function AppIn({ns, app, env}) {
  const [query, change] = useQuery();
  const [text, type] = useState(query.get('host') ?? '');
  const live = useLook('live', {namespace: ns, app, env});
  const list = useLook('releases', {namespace: ns, app, env, limit: 50});
  const [older, add] = useState(/** @type {{list: any[], next: string}|null} */ (null));
  const [trouble, fail] = useState(/** @type {any} */ (null));
  const all = live.data?.live ?? [];
  const may = useMay(ns, all.slice(0, 100).map((/** @type {any} */ l) => l.host))['job.submit'];
  const cell = cellOf(all.filter((/** @type {any} */ l) => l.host.includes(text.trim())));
  const seen = new Set();
  const releases = [...list.data?.releases ?? [], ...older?.list ?? []].filter((r) => !seen.has(r.job) && seen.add(r.job));
  const next = older ? older.next : list.data?.next;
  const more = () => get('releases', {namespace: ns, app, env, limit: 50, cursor: next}).then((d) => { fail(null); add({list: [...older?.list ?? [], ...d.releases], next: d.next ?? ''}); }, fail);
  return html`<${Page} title=${`${clean(app)} in ${clean(env)}`} up=${{href: href('releases'), text: 'Releases'}} head=${html`<span class="quiet">${ns}</span>`}>
    <${Trouble} error=${live.error} what="What is live is not shown as it is now" />
    <div class="appin">
      ${live.data && html`<section class="card" aria-labelledby="live"><div class="row"><h2 id="live">Live</h2>${all.length > 1 && html`<label class="small">Host <input type="search" autocomplete="off" spellcheck="false" value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} onChange=${() => change({host: text || null})} /></label>`}</div>
        ${cell.versions.map((/** @type {any} */ v) => html`<${OfVersion} key=${v.version + v.config} ns=${ns} v=${v} />`)}
        ${!cell.hosts && html`<p class="quiet">${all.length ? 'No host has that in its name.' : 'On no host that you may see.'}</p>`}</section>`}
      <section class="card" aria-labelledby="releases"><h2 id="releases">Releases</h2>
        <${Trouble} error=${list.error} what="The releases are not shown as they are now" />
        <${OverTime} ns=${ns} app=${app} env=${env} />
        ${list.data && (releases.length ? html`<ul>${releases.map((r) => html`<${One} key=${r.job} ns=${ns} r=${r} may=${may} />`)}</ul>` : html`<p class="quiet">There are none that you may see.</p>`)}
        <${Trouble} error=${trouble} what="Older ones are not shown" />
        ${next && html`<p><button type="button" onClick=${more}>Older releases</button></p>`}
      </section>
    </div>
  </${Page}>`;
}
