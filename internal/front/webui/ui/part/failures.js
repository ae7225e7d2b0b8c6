// Failures first: the hosts on which a job did not succeed, those that failed alike together, what ended last on top.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {useAgain} from '../lib/again.js';
import {Mark} from './mark.js';
import {Trouble} from './trouble.js';
import {When} from './when.js';

/** @param {{job: string, version?: any}} p version: changes as the job goes on, where whoever shows this knows; it asks again then */
export function Failures({job, version}) {
  const [named, name] = useState(20);
  const [limit, most] = useState(20);
  const {data, error, again} = useLoad(`jobs/${part(job)}/failures`, {named, limit});
  useAgain(job, version, again);
  if (!data) return html`<${Trouble} error=${error} what="Failures are not shown" />`;
  return html`<div class="failures">
    <${Trouble} error=${error} what="Failures are not shown as they are now" />
    ${!data.hosts && html`<p class="quiet">None so far.</p>`}
    ${data.hosts > 0 && html`<p class="small quiet">${count(data.hosts, 'host')} in ${count(data.failures.length, 'kind')}${data.next ? ' and more' : ''} of failure.${data.no_output ? ` What they printed is not shown: ${data.no_output}` : ''}</p>`}
    ${data.failures.map((/** @type {any} */ f) => html`<${One} key=${f.id} job=${job} f=${f} all=${() => name(100000)} />`)}
    ${data.next && html`<p><button type="button" onClick=${() => most(Math.min(200, limit + 50))}>More kinds of failure</button></p>`}
  </div>`;
}

/** What of an attempt failed, in words. @param {any} f */
function what(f) {
  const [phase, hook] = (f.step ?? '').split(/\/(.*)/s);
  const step = {contact: 'no contact', start: 'nothing started', command: 'command', pre: `pre hook ${hook}`, post: `post hook ${hook}`}[/** @type {string} */ (phase)] ?? f.step;
  const end = f.signal ? `signal ${f.signal}` : f.exit_code !== undefined ? `exit ${f.exit_code}` : '';
  return [step, end].filter(Boolean).join(', ');
}

/** @param {{job: string, f: any, all: () => void}} p */
function One({job, f, all}) {
  const lines = f.stderr?.length ? f.stderr : f.stdout ?? [];
  const stream = f.stderr?.length ? 'stderr' : 'stdout';
  return html`<section class="failures-one" data-state=${f.outcome} aria-label=${`${f.hosts === 1 ? f.named[0] ?? '1 host' : count(f.hosts, 'host')} ${f.outcome}`}>
    <div class="row"><${Mark} state=${f.outcome} /><strong>${count(f.hosts, 'host')}</strong><span>${clean(what(f))}</span><span class="small quiet"><${When} at=${f.last} /></span></div>
    ${f.reason && html`<p>${clean(f.reason)}</p>`}
    ${lines.length > 0 && html`<pre class="failures-lines" aria-label=${`last lines of ${stream}`}>${lines.map(clean).join('\n')}</pre>`}
    <p class="failures-hosts small">${f.named.map((/** @type {string} */ h) => html`<a key=${h} class="mono" href=${href(`jobs/${part(job)}/hosts/${part(h)}`, {stream: lines.length ? stream : null})}>${clean(h)}</a>`)}
      ${f.hosts > f.named.length && html`<button type="button" class="plain" onClick=${all}>and ${number(f.hosts - f.named.length)} more</button>`}</p>
  </section>`;
}
