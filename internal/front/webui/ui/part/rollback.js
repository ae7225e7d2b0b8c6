// Before hosts are brought back: which, from what to what, how many at once, by the plan of the server and kept fresh while one
// thinks; then doing it, once, on exactly what was seen.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {ask, get, post, Problem} from '../lib/api.js';
import {href, part} from '../lib/place.js';
import {go} from '../lib/router.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {newID, secrets} from '../lib/draft.js';
import {Dialog} from './dialog.js';
import {Trouble} from './trouble.js';
import {Control} from './may.js';
import {Copy} from './copy.js';
import {Version} from './release.js';
import {Wide} from './wide.js';
import {undone} from './asked.js';

const often = 3000; // ms

/** What a rollback would do, and how it is planned; asked again and again. @param {string} job */
function useWay(job) {
  const [got, set] = useState(/** @type {{way?: any, plan?: any, error?: any}} */ ({}));
  const look = async (/** @type {AbortSignal} */ signal) => {
    const way = await get(`jobs/${part(job)}/back`, undefined, signal);
    const plan = way.submit ? await (await ask('POST', 'plan', {query: {names: 8}, body: way.submit, signal})).json() : undefined;
    return {way, plan};
  };
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const round = () => look(stop.signal).then((now) => set(now), (error) => { if (!stop.signal.aborted) set((/** @type {any} */ was) => ({...was, error})); })
      .then(() => { if (!stop.signal.aborted) timer = setTimeout(round, often); });
    void round();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [job]);
  return {...got, look};
}

/** What a rollback rests on: another one is decided anew. @param {any} way @param {any} plan */
const seen = (way, plan) => JSON.stringify([way.submit, way.supersedes, plan?.fleet_digest]);

/** Jobs by id, as links. @param {{ids: string[]}} p */
const Jobs = ({ids}) => ids.map((id, i) => html`${i > 0 && ', '}<a key=${id} class="mono" href=${href(`jobs/${part(id)}`)}>${id}</a>`);

/** @param {{way: any, plan: any}} p */
const Says = ({way, plan}) => html`<ul>
  <li>${count(plan.count, 'host')} ${plan.count === 1 ? 'goes' : 'go'} back. Each has what it goes back to, and checks every file of it first; nothing is fetched.</li>
  ${way.moves.map((/** @type {any} */ m, /** @type {number} */ i) => html`<li key=${i}><${Wide} hosts=${m.hosts} />: from ${m.from.version ? html`<${Version} ...${m.from} />` : 'what it has'} to <${Version} ...${m.to} /></li>`)}
  <li>${plan.constraints.length ? plan.constraints.map((/** @type {any} */ c) => `${c.group}: ${number(c.capacity)} of ${count(c.members, 'host')} may be out at once, ${number(c.out ?? 0)} ${c.out === 1 ? 'is' : 'are'} now`).join('; ') : 'No constraint holds it back: all hosts of a stage may be out of service at once'}.</li>
  ${plan.tracks.some((/** @type {any} */ t) => t.stages.length > 1) && html`<li>In stages: ${plan.tracks.map((/** @type {any} */ t) => t.stages.filter((/** @type {any} */ s) => s.count).map((/** @type {any} */ s) => `${s.name} (${number(s.count)})${s.approve ? ', then an approval' : s.pause ? `, then ${s.pause}` : ''}`).join(', ')).join('; ')}.</li>`}
  ${way.supersedes?.length > 0 && html`<li><strong>Cancelled, and what runs of it is killed:</strong> <${Jobs} ids=${way.supersedes} /></li>`}
  ${way.waits_for?.length > 0 && html`<li>It waits until <${Jobs} ids=${way.waits_for} /> ${way.waits_for.length === 1 ? 'has' : 'have'} ended.</li>`}
  ${way.later?.map((/** @type {any} */ l) => html`<li key=${l.job + l.why}>Left as they are, since they have changed: <${Wide} hosts=${l.hosts} />: ${clean(l.why)} (<${Jobs} ids=${[l.job]} />)</li>`)}
  ${way.unknown?.length > 0 && html`<li>Left as they are, since nobody knows what they have: <${Wide} hosts=${way.unknown} /></li>`}
  ${way.none?.length > 0 && html`<li>Left as they are, since they had nothing before: <${Wide} hosts=${way.none} /></li>`}
  ${plan.retired_count > 0 && html`<li>Left out, because retired: <${Wide} hosts=${plan.retired} /></li>`}
  ${(plan.asks ?? []).map((/** @type {string} */ a) => html`<li key=${a}>${clean(a)}.</li>`)}
</ul>`;

/** @param {{job: string, onClose: () => void}} p */
function Ask({job, onClose}) {
  const {way, plan, error, look} = useWay(job);
  const [typed, type] = useState('');
  const [doing, setDoing] = useState(false);
  const [failed, fail] = useState(/** @type {any} */ (null));
  const [id] = useState(newID);
  const going = useRef(false);
  const ids = {typed: useId(), no: useId()};
  const ready = way?.submit && plan;
  const secret = ready && secrets.find((s) => way.submit.options[s]);
  const word = plan?.asks?.length ? String(plan.count) : '';
  const lacks = way?.refused || error && !ready ? 'It cannot be done now.' : !ready ? 'The server is asked what it would do.'
    : secret ? 'It needs a secret, and a page has none: type the command below.' : word && typed.trim().replace(/[,. ]/g, '') !== word ? `Type ${word} first.` : '';
  /** @param {Event} e */
  const act = async (e) => {
    e.preventDefault();
    if (going.current || lacks) return;
    going.current = true;
    setDoing(true);
    fail(null);
    try {
      const now = await look(new AbortController().signal);
      if (seen(now.way, now.plan) !== seen(way, plan)) throw new Problem({status: 409, code: 'conflict', detail: 'what it would do has changed since you looked', hint: 'look at it again, and decide again'});
      await post('jobs', {...way.submit, id, fleet_digest: plan.fleet_digest || undefined});
      go(href(`jobs/${id}`));
    } catch (x) {
      const there = x instanceof Problem && x.status >= 400 && x.status < 500 ? null : await get(`jobs/${id}`).catch(() => null);
      if (there) go(href(`jobs/${id}`)); // only the answer was lost
      else fail(x);
    } finally { going.current = false; setDoing(false); }
  };
  return html`<${Dialog} title="Roll this deploy back?" onClose=${onClose}><form class="stack asked" onSubmit=${act}>
    <p class="small quiet">Job <span class="mono">${job}</span></p>
    <div class="asked-says" aria-live="polite" aria-busy=${way ? null : 'true'}>
      ${way?.refused ? html`<${Trouble} error=${new Problem(way.refused)} what="It cannot be done" />` : ready ? html`<${Says} way=${way} plan=${plan} />`
        : error ? html`<${Trouble} error=${error} what="What it would do is not known" />` : html`<p class="quiet">The server is asked what it would do.</p>`}
    </div>
    ${ready && html`<div class="row"><code class="small">${way.command_line}</code><${Copy} text=${way.command_line} label="the command that does the same" /></div>`}
    ${word && html`<div class="stack asked-field"><label for=${ids.typed}>It is about ${count(plan.count, 'host')}: type ${word}</label>
      <input id=${ids.typed} type="text" inputmode="numeric" autocomplete="off" value=${typed} onInput=${(/** @type {any} */ e) => type(e.target.value)} /></div>`}
    <${Trouble} error=${failed} what=${undone(failed)} />
    <div class="row asked-do">
      <button type="submit" class="stop" aria-disabled=${lacks || doing ? 'true' : null} aria-describedby=${lacks ? ids.no : null}>${doing ? 'Doing it …' : plan ? `Roll back ${count(plan.count, 'host')}` : 'Roll back'}</button>
      <button type="button" onClick=${onClose}>Leave it</button>
      ${lacks && html`<span class="small quiet" id=${ids.no}>${lacks}</span>`}
    </div>
  </form></${Dialog}>`;
}

/** The button of a deploy. @param {{job: string, may: any, label?: string}} p may: the right to submit jobs there; label: which, where there are several */
export function RollBack({job, may, label}) {
  const [asking, set] = useState(false);
  return html`<${Control} may=${may} aria-haspopup="dialog" onClick=${() => set(true)}>Roll back${label && html`<span class="unseen"> ${label}</span>`}</${Control}>
    ${asking && html`<${Ask} job=${job} onClose=${() => set(false)} />`}`;
}
