// One job on one host: its attempts, and what each printed.
import {html, useEffect} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {useQuery} from '../lib/router.js';
import {clean} from '../lib/clean.js';
import {bytes, lasting} from '../lib/words.js';
import {deploys} from '../lib/steps.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {Output} from '../part/output.js';
import {Steps} from '../part/steps.js';
import {Trouble} from '../part/trouble.js';
import {When} from '../part/when.js';
import {WhyNot, useMayJob} from '../part/may.js';

/** @param {{id: string, host: string}} p */
export function JobHost({id, host}) {
  const [query, change] = useQuery();
  const {data, error, again} = useLoad(`jobs/${part(id)}/hosts/${part(host)}`);
  const may = useMayJob(id).output;
  const settled = data && !['running', 'waiting', 'unknown'].includes(data.state);
  useEffect(() => {
    if (settled) return undefined;
    const t = setInterval(() => { if (!document.hidden) again(); }, 2000);
    return () => clearInterval(t);
  }, [settled]);
  const attempts = data?.attempts ?? [];
  const a = attempts.find((/** @type {any} */ x) => String(x.number) === query.get('attempt')) ?? attempts[attempts.length - 1];
  const stream = query.get('stream') ?? (a && !a.running && !a.stdout && a.stderr ? 'stderr' : 'stdout');
  return html`<${Page} title=${clean(host)} up=${{href: href(`jobs/${part(id)}`), text: data ? clean(data.command) : id}} head=${data && html`<${Mark} state=${data.state} /><a class="small" href=${href(`hosts/${part(data.namespace)}/${part(host)}`)}>All of this host</a>`}>
    <${Trouble} error=${error} what="The attempts are not shown" />
    ${data && !attempts.length && html`<p class="quiet">Nothing has run here yet.</p>`}
    ${attempts.length > 1 && html`<nav aria-label="Attempts"><ul class="jobhost-tries">${attempts.map((/** @type {any} */ x) => html`<li key=${x.number}>
      <a href=${href(`jobs/${part(id)}/hosts/${part(host)}`, {attempt: x.number, stream: query.get('stream')})} aria-current=${x === a ? 'page' : null}>Attempt ${x.number} <${Mark} state=${stands(x)} /></a></li>`)}</ul></nav>`}
    ${a && html`<section class="card" aria-label=${`Attempt ${a.number}`}><dl class="facts">
      <dt>Attempt</dt><dd>${a.number} <span class="quiet small mono">${a.id}</span></dd>
      <dt>Began</dt><dd><${When} at=${a.began} /></dd>
      ${a.ended && html`<dt>Ended</dt><dd><${When} at=${a.ended} />${a.duration_ms > 0 && `, it took ${lasting(a.duration_ms)}`}</dd>`}
      <dt>Outcome</dt><dd class="jobhost-end"><${Mark} state=${stands(a)} />${a.exit_code !== undefined && html`<span>exit ${a.exit_code}</span>`}</dd>
      ${a.reason && html`<dt>Reason</dt><dd>${clean(a.reason)}</dd>`}
      ${a.steps?.length > 0 && !deploys(a.steps) && html`<dt>Steps</dt><dd>${a.steps.map((/** @type {any} */ s) => `${clean(s.name)}: exit ${s.exit_code}, ${lasting(s.duration_ms)}`).join('; ')}</dd>`}
      ${a.balancers?.length > 0 && html`<dt>Balancers</dt><dd>${a.balancers.map((/** @type {any} */ b) => html`<div>${clean(b.text)}</div>`)}</dd>`}
      ${a.truncated && html`<dt>Cut</dt><dd>only the first part of ${a.truncated.join(' and ')} was kept</dd>`}
      ${a.leftovers && html`<dt>Left</dt><dd>processes ${a.leftovers.join(', ')} outlived it</dd>`}
    </dl>${a.steps?.length > 0 && deploys(a.steps) && html`<h2>Steps</h2><${Steps} steps=${a.steps} />`}</section>`}
    ${data?.removed && html`<p class="note">What it printed is not kept any more: ${clean(data.removed)}</p>`}
    <${WhyNot} of=${[may]} />
    ${a && !data.removed && may?.may && html`<section class="stack" aria-label="Output">
      <div class="row" role="group" aria-label="Stream">${['stdout', 'stderr'].map((s) => html`<button key=${s} type="button" class=${s === stream ? 'main' : ''} aria-pressed=${s === stream ? 'true' : 'false'} onClick=${() => change({stream: s, at: null, hit: null, find: null})}>${s} <span class="num">${bytes(a[s])}</span></button>`)}</div>
      <${Output} key=${`${a.number} ${stream}`} job=${id} host=${host} attempt=${a.number} stream=${stream} running=${Boolean(a.running)} />
    </section>`}
  </${Page}>`;
}

/** @param {any} a */
const stands = (a) => a.running ? 'running' : a.outcome ?? 'waiting';
