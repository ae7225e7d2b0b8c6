// What a job deploys, as it was frozen with it: in words, in place of its form.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {clean} from '../lib/clean.js';
import {bytes, count, lasting, moment} from '../lib/words.js';
import {Copy} from './copy.js';
import {Mark} from './mark.js';
import {Trouble} from './trouble.js';
import {Wide} from './wide.js';

/** A time of the API, in nanoseconds. @param {number} ns */
const span = (ns) => lasting(ns / 1e6);

/** A digest, short, with the whole one to copy. @param {{digest: string, what: string}} p */
export const Digest = ({digest, what}) => html`<span class="release-digest"><span class="mono" title=${digest}>${digest.slice(0, 19)}…</span> <${Copy} text=${digest} label=${`the digest of ${what}`} /></span>`;

/** A version, with a sign that tells two configurations of it apart. @param {{version: string, config?: string}} p */
export const Version = ({version, config}) => html`<span class="mono release-version">${clean(version)}</span>${config && html` <span class="small quiet mono" title=${`configuration ${config}`}>${config.slice(7, 15)}</span>`}`;

/** @param {any} s */
const service = (s) => `${s.reload ? 'reloads' : 'restarts'} ${s.name}, by ${s.by}`;

/** @param {any} b */
const balancer = (b) => `${b.driver} on ${b.on || 'the machine of whoever carries it out'}, pool ${b.pool}${b.server ? `, as ${b.server}` : ''}${b.least ? `; at least ${b.least} stay up` : ''} (${b.at})`;

/** @param {any} c */
const check = (c) => `${/** @type {any} */ ({http: 'asks', tcp: 'connects to', exec: 'runs', systemd: 'looks whether systemd has'})[c.kind] ?? c.kind} ${c.at}${c.kind === 'systemd' ? ' active' : ''}${c.status ? `, which answers ${c.status}` : ''}`
  + `${c.every ? `, every ${span(c.every)}` : ''}${c.timeout ? `, for at most ${span(c.timeout)}` : ''}${c.successes > 1 ? `, ${c.successes} times in a row` : ''}`;

/** Sign and words of what a validation came to. @type {Record<string, [string, string]>} */
const validated = {validated: ['succeeded', 'validated'], failed: ['failed', 'validation failed'], running: ['running', 'being validated'], 'not run': ['unknown', 'not validated']};

/** What the validation of a release came to, by which job, and why. @param {{v: any}} p */
export function Validation({v}) {
  const [state, text] = validated[v.state] ?? ['unknown', v.state];
  return html`<${Mark} state=${state}>${text}</${Mark}>${v.job && html` <span class="small">by job <a class="mono" href=${href(`jobs/${part(v.job)}`)}>${v.job}</a></span>`}${v.reason && html`<span class="small">: ${clean(v.reason)}</span>`}`;
}

/** @param {any} v @param {any} on */
const validates = (v, on) => `runs ${v.run}, for at most ${span(v.timeout)}, on ${on.hosts.join(', ')}${v.on_failure === 'rollback' ? '; if it fails, the deploy is taken back' : ''}`;

/** @param {{of: any[]|undefined, say: (x: any) => string, none: string}} p */
const List = ({of, say, none}) => of?.length ? html`<ul>${of.map((x, i) => html`<li key=${i}>${clean(say(x))}</li>`)}</ul>` : html`<span class="quiet">${none}</span>`;

/** @param {{pieces: any[]}} p */
const Pieces = ({pieces}) => pieces.map((p) => html`<dt key=${p.what}>${p.what}</dt><dd key=${`${p.what}-is`}><${Digest} digest=${p.digest} what=${`the ${p.what}`} />
  <span class="small quiet">${p.kept ? `kept by the server, ${bytes(p.size)}` : html`<strong>not kept by the server any more</strong>`}</span></dd>`);

/** @param {{back: any[]}} p */
const Back = ({back}) => html`<ul class="stack release-back">${back.map((b) => html`<li key=${b.manifest + b.config}><${Version} version=${b.version} config=${b.config} />: <${Wide} hosts=${b.hosts} /></li>`)}</ul>`;

/** @param {{id: string}} p */
export function Release({id}) {
  const {data, error} = useLoad(`jobs/${part(id)}/release`);
  if (!data) return html`<${Trouble} error=${error} what="The release is not shown" />`;
  const r = data.release, d = r.deploy, waits = d.waits ?? {};
  return html`<dl class="facts release-facts">
    <dt>app</dt><dd><a href=${href(`releases/${part(data.namespace)}/${part(r.app)}/${part(r.env)}`)}><strong>${clean(r.app)}</strong> in ${clean(r.env)}</a>${r.cluster && `, cluster ${clean(r.cluster)}`}</dd>
    ${data.kind === 'rollback' ? html`<dt>goes back to</dt><dd><${Back} back=${data.back ?? []} /></dd>`
      : html`<dt>version</dt><dd><${Version} version=${r.version} /></dd>
    ${r.commit && html`<dt>commit</dt><dd><span class="mono" title=${r.commit.id}>${clean(r.commit.id.slice(0, 12))}</span>${r.commit.time && html` <span class="small quiet">of ${moment(r.commit.time)}</span>`}${r.commit.builder && html` <span class="small quiet">built by ${clean(r.commit.builder)}</span>`}</dd>`}
    <${Pieces} pieces=${data.pieces ?? []} />
    ${r.config ? html`<dt></dt><dd><a href=${href(`jobs/${part(id)}/configuration`)}>What it says, key by key</a></dd>` : html`<dt>configuration</dt><dd class="quiet">no configuration goes with it</dd>`}`}
    <dt>root</dt><dd><code>${clean(d.root)}</code>${(d.user || d.group) && html` <span class="small quiet">owned by ${[d.user, d.group].filter(Boolean).map(clean).join(':')}</span>`} <span class="small quiet">${count(d.keep, 'version')} ${d.keep === 1 ? 'stays' : 'stay'}${d.no_hooks ? ', hooks are not run' : ''}</span></dd>
    <dt>services</dt><dd><${List} of=${d.services} say=${service} none="none is restarted" /></dd>
    <dt>balancers</dt><dd><${List} of=${d.balancers} say=${balancer} none="none" /></dd>
    <dt>checks</dt><dd><${List} of=${d.checks} say=${check} none="none: a host that was changed counts as well" /></dd>
    ${d.validate && r.validating && html`<dt>validation</dt><dd>${clean(validates(d.validate, r.validating))}${data.validation && html`<br /><${Validation} v=${data.validation} />`}</dd>`}
    ${(waits.drain || waits.healthy || waits.steady) && html`<dt>waits</dt><dd>${[waits.drain && `${span(waits.drain)} for requests in flight`, waits.healthy && `${span(waits.healthy)} to be well`, waits.steady && `well for ${span(waits.steady)}`].filter(Boolean).join(', ')}</dd>`}
  </dl>`;
}
