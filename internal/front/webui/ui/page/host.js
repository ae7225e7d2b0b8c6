// One host: what it is, whether it is in service and why not, what binds it, and the jobs on it.
import {html, useEffect, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {get} from '../lib/api.js';
import {useLoad} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {count, number, word} from '../lib/words.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {Trouble} from '../part/trouble.js';
import {When} from '../part/when.js';
import {HostControls} from '../part/hostcontrols.js';

/** @param {{namespace: string, host: string}} p */
export function Host({namespace, host}) {
  const path = `namespaces/${part(namespace)}/hosts/${part(host)}/now`;
  const {data, error, again} = useLoad(path);
  const [older, add] = useState(/** @type {{jobs: any[], next?: string, after: string}|null} */ (null));
  const [trouble, fail] = useState(/** @type {any} */ (null));
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) again(); }, 3000);
    return () => clearInterval(t);
  }, [path]);
  const next = older ? older.next : data?.next;
  const more = () => get(path, {cursor: next}).then((d) => { fail(null); add({jobs: [...older?.jobs ?? [], ...d.jobs], next: d.next, after: ''}); }, fail);
  const seen = new Set();
  const jobs = [...data?.jobs ?? [], ...older?.jobs ?? []].filter((j) => !seen.has(j.job) && seen.add(j.job));
  return html`<${Page} title=${clean(host)} up=${{href: href(''), text: 'Overview'}} head=${data && html`<span class="quiet">${namespace}</span><${Standing} out=${data.out} />`}>
    <${Trouble} error=${error} what="The host is not shown" />
    ${data && html`<div class="host">
      <div class="stack">
        <section class="card" aria-labelledby="service"><h2 id="service">Service</h2><${Service} out=${data.out} />
          <${HostControls} namespace=${namespace} hosts=${[host]} out=${Boolean(data.out)} held=${Boolean(data.out?.held)} retired=${Boolean(data.out?.retired)} known=${data.out ? `${data.out.since} ${data.out.why}` : ''} /></section>
        <section class="card" aria-labelledby="fleet"><h2 id="fleet">In the fleet</h2>
          ${data.no_fleet ? html`<p class="quiet">${data.no_fleet}</p>` : !data.in_fleet ? html`<p>The fleet of ${namespace} does not have it now.</p>` : html`<dl class="facts">
            <dt>Tags</dt><dd>${data.tags?.length ? data.tags.map((/** @type {string} */ t) => html`<code key=${t} class="host-tag">${clean(t)}</code> `) : 'none'}</dd>
            <dt>Address</dt><dd class="mono">${data.user ? clean(data.user) + '@' : ''}${clean(data.address || host)}${data.port ? ':' + data.port : ''}</dd>
            <dt>Pool</dt><dd>${clean(data.pool || 'default')}</dd></dl>`}
        </section>
        <section class="card" aria-labelledby="limits"><h2 id="limits">Constraints that bind it</h2>
          ${data.limits.length ? data.limits.map((/** @type {any} */ l) => html`<div key=${l.group} class="stack host-limit">
            <p><strong class="mono">${clean(l.group)}</strong> <span class="quiet">${clean(l.limit)}: ${number(l.capacity)} of ${count(l.members, 'host')} may be out, ${number(l.out)} ${l.out === 1 ? 'is' : 'are'}</span></p>
            ${l.holders.length > 0 && html`<ul class="small">${l.holders.map((/** @type {any} */ h) => html`<li key=${h.host}><a class="mono" href=${href(`hosts/${part(namespace)}/${part(h.host)}`)}>${clean(h.host)}</a> ${word[/** @type {keyof typeof word} */ (h.why)] ?? h.why}${h.job ? html` in <a class="mono" href=${href(`jobs/${part(h.job)}`)}>${h.job}</a>` : ''}</li>`)}</ul>`}
          </div>`) : html`<p class="quiet">None.</p>`}
        </section>
      </div>
      <section class="card" aria-labelledby="history"><h2 id="history">Jobs on it</h2>
        ${jobs.length ? html`<ul>${jobs.map((j) => html`<li key=${j.job} class="host-job">
          <${Mark} state=${j.state} />
          <div class="stack"><a class="mono" href=${href(`jobs/${part(j.job)}/hosts/${part(host)}`)}>${clean(j.command)}</a>
            <p class="small quiet"><a href=${href(`jobs/${part(j.job)}`)} class="mono">${j.job}</a> by ${clean(j.by)}, <${When} at=${j.submitted} />${j.attempts ? `, ${count(j.attempts, 'attempt')}` : ''}${j.read_only ? ', only read' : ''}</p></div>
        </li>`)}</ul>` : html`<p class="quiet">None yet.</p>`}
        <${Trouble} error=${trouble} what="Older ones are not shown" />
        ${next && html`<p><button type="button" onClick=${more}>Older jobs</button></p>`}
      </section>
    </div>`}
  </${Page}>`;
}

/** @param {{out: any}} p */
function Standing({out}) {
  if (!out) return html`<${Mark} state="succeeded">in service</${Mark}>`;
  if (out.retired) return html`<${Mark} state="skipped">retired</${Mark}>`;
  if (out.running) return html`<${Mark} state="running" />`;
  return html`<${Mark} state=${out.held ? 'paused' : out.unknown ? 'unknown' : 'failed'}>out of service</${Mark}>`;
}

/** @param {{out: any}} p */
function Service({out}) {
  if (!out) return html`<p>In service: nothing runs on it, and its last outcome was good or was let go.</p>`;
  const job = out.job && html`<a class="mono" href=${href(`jobs/${part(out.job)}/hosts/${part(out.host)}`)}>${out.job}</a>`;
  return html`<dl class="facts">
    <dt>State</dt><dd>${out.retired ? 'retired' : out.running ? 'an attempt runs' : out.held ? 'held by an operator' : `out: ${word[/** @type {keyof typeof word} */ (out.why)] ?? out.why}`}</dd>
    ${job && html`<dt>Job</dt><dd>${job}</dd>`}
    <dt>Since</dt><dd><${When} at=${out.since} /></dd>
    ${out.by && html`<dt>By</dt><dd>${clean(out.by)}</dd>`}
    ${out.reason && html`<dt>Reason</dt><dd>${clean(out.reason)}</dd>`}
  </dl>`;
}
