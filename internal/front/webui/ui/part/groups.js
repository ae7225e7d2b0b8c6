// What the hosts of a job printed: those that printed the same together, and what differs between two texts.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {useQuery} from '../lib/router.js';
import {useAgain} from '../lib/again.js';
import {clean} from '../lib/clean.js';
import {bytes, count, number, outcomes, word} from '../lib/words.js';
import {WhyNot, useMayJob} from './may.js';
import {Trouble} from './trouble.js';

/** @param {{job: string, version?: any}} p version: see Failures. Which stream and which difference stand in the address: out, diff, base. */
export function Groups({job, version}) {
  const [query, change] = useQuery();
  const may = useMayJob(job).output;
  const stream = query.get('out') === 'stderr' ? 'stderr' : 'stdout';
  const [limit, most] = useState(20);
  const [named, name] = useState(20);
  const {data, error, again} = useLoad(may?.may ? `jobs/${part(job)}/groups` : null, {stream, limit, named});
  useAgain(job, version, again);
  const groups = data?.groups ?? [];
  const base = groups.find((/** @type {any} */ g) => g.digest === query.get('base')) ?? groups[0];
  return html`<div class="groups">
    <div class="row" role="group" aria-label="Stream">${['stdout', 'stderr'].map((s) => html`<button key=${s} type="button" aria-pressed=${s === stream ? 'true' : 'false'} class=${s === stream ? 'main' : ''} onClick=${() => change({out: s === 'stdout' ? null : s, diff: null, base: null})}>${s}</button>`)}
      ${data && html`<span class="quiet small">${count(data.count, 'text')}${data.running ? `, ${count(data.running, 'host')} still running` : ''}${data.waiting ? `, ${count(data.waiting, 'host')} without an attempt` : ''}</span>`}</div>
    <${WhyNot} of=${[may]} />
    <${Trouble} error=${error} what="Outputs are not shown" />
    ${data && !groups.length && html`<p class="quiet">No attempt has ended yet.</p>`}
    ${groups.map((/** @type {any} */ g) => html`<section key=${g.digest} class="groups-one" aria-label=${`${count(g.hosts, 'host')}, ${bytes(g.size)}`}>
      <div class="row"><strong>${count(g.hosts, 'host')}</strong><span class="small quiet">${outcomes.filter((o) => g.outcomes[o]).map((o) => `${number(g.outcomes[o])} ${word[/** @type {keyof typeof word} */ (o)]}`).join(', ')}; ${bytes(g.size)}${g.part ? '; the first 1 MB was compared' : ''}${g.cut ? '; only the first part was kept' : ''}</span>
        ${groups.length > 1 && (g === base ? html`<span class="small quiet">others are compared with this one</span>` : html`
          <button type="button" class="plain" aria-expanded=${query.get('diff') === g.digest ? 'true' : 'false'} onClick=${() => change({diff: query.get('diff') === g.digest ? null : g.digest})}>Difference</button>
          <button type="button" class="plain" onClick=${() => change({base: g.digest, diff: null})}>Compare with this one</button>`)}</div>
      <p class="failures-hosts small">${g.named.map((/** @type {string} */ h) => html`<a key=${h} class="mono" href=${href(`jobs/${part(job)}/hosts/${part(h)}`, {stream})}>${clean(h)}</a>`)}
        ${g.hosts > g.named.length && html`<button type="button" class="plain" onClick=${() => name(100000)}>and ${number(g.hosts - g.named.length)} more</button>`}</p>
      ${query.get('diff') === g.digest && g !== base ? html`<${Diff} job=${job} stream=${stream} from=${base.digest} to=${g.digest} />`
        : g.size ? html`<pre class="groups-text" tabindex="0" aria-label="first lines">${g.begins.map((/** @type {string} */ l) => clean(l).replaceAll('\\t', '\t')).join('\n')}${g.more ? '\n…' : ''}</pre>` : html`<p class="quiet small">Nothing was printed.</p>`}
    </section>`)}
    ${data?.next && html`<p><button type="button" onClick=${() => most(Math.min(200, limit + 50))}>More texts</button></p>`}
  </div>`;
}

/** @param {{job: string, stream: string, from: string, to: string}} p */
function Diff({job, stream, from, to}) {
  const {data, error} = useLoad(`jobs/${part(job)}/groups/${part(from)}/diff`, {stream, with: to});
  if (!data) return html`<${Trouble} error=${error} what="The difference is not shown" />`;
  const sign = {same: ' ', gone: '−', new: '+'};
  return html`<div class="stack">
    <p class="small quiet">${count(data.gone, 'line')} gone, ${number(data.new)} new${data.whole ? '' : '; the texts are long, and only their beginnings are compared'}</p>
    ${data.runs.length > 0 && html`<div class="groups-diff" tabindex="0" role="region" aria-label="difference">${data.runs.map((/** @type {any} */ r, /** @type {number} */ i) => html`<div key=${i} class=${i ? 'groups-skip' : ''}>
      ${r.lines.map((/** @type {any} */ l) => html`<div class="groups-line" data-kind=${l.kind}><span class="num" aria-hidden="true">${l.was || ''}</span><span class="num" aria-hidden="true">${l.now || ''}</span><span>${sign[/** @type {keyof typeof sign} */ (l.kind)]}</span><span>${clean(l.text).replaceAll('\\t', '\t')}</span></div>`)}</div>`)}</div>`}
  </div>`;
}
