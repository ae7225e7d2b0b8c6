// A rehearsal: how a job would go if so many hosts failed, drawn anew as the slider moves.
import {html, useState, useId} from '../vendor/preact.js';
import {ask} from '../lib/api.js';
import {useAsking} from '../lib/load.js';
import {number, count, lasting, outcomes, word} from '../lib/words.js';
import {Mark} from './mark.js';
import {Trouble} from './trouble.js';

/** @param {{submission: any}} p */
export function Rehearsal({submission}) {
  const [fail, setFail] = useState(0);
  const [each, setEach] = useState('30s');
  const [seed, setSeed] = useState(1);
  const id = useId();
  const body = {...submission, rehearsal: {fail: fail ? `${fail}%` : '', duration: each.trim(), jitter: '20%', seed}};
  const {data: r, error} = useAsking(async (signal) => (await ask('POST', 'rehearse', {body, signal})).json(), JSON.stringify(body), 120);
  return html`<div class="stack rehearsal">
    <div class="rehearsal-knobs">
      <div class="rehearsal-slider"><label for=${`${id}-fail`}>Hosts that fail</label>
        <input id=${`${id}-fail`} type="range" min="0" max="50" step="1" value=${fail} aria-valuetext=${`${fail} % of the hosts fail`} onInput=${(/** @type {any} */ e) => setFail(Number(e.currentTarget.value))} />
        <output for=${`${id}-fail`} class="num">${fail} %</output></div>
      <div><label for=${`${id}-each`}>Each host takes</label> <input id=${`${id}-each`} type="text" size="6" value=${each} onInput=${(/** @type {any} */ e) => setEach(e.currentTarget.value)} /></div>
      <button type="button" disabled=${!fail} onClick=${() => setSeed(seed + 1)}>Draw others</button>
    </div>
    ${error && html`<${Trouble} error=${error} what="It is not rehearsed" />`}
    ${r && !error && html`<${Shown} r=${r} />`}
  </div>`;
}

/** @param {{r: any}} p */
function Shown({r}) {
  const said = outcomes.filter((o) => r.counts[o] > 0).map((o) => `${number(r.counts[o])} ${word[/** @type {keyof typeof word} */ (o)]}`);
  if (r.not_started) said.push(`${number(r.not_started)} not started`);
  const total = r.seconds * 1000;
  return html`<div role="status" class="stack">
      <p class="row rehearsal-ends"><strong><${Mark} state=${r.state === 'unfinished' ? 'waiting' : r.state}>${r.end}</${Mark}></strong> <span>after ${lasting(total)}: ${said.join(', ')}.</span> <span class="quiet">At most ${count(r.most, 'host')} out of service at once.</span></p>
      ${r.halted && html`<p>${r.halted.reason}${r.holding?.count ? html` (<code>${r.holding.text}</code>${r.holding.more ? ` and ${number(r.holding.more)} more` : ''})` : ''}.</p>`}
      ${r.out_before?.count > 0 && html`<p class="small quiet">${count(r.out_before.count, 'host')} out of service already: ${r.out_before.text}.</p>`}
    </div>
    <${Chart} r=${r} />
    <div class="scroll" tabindex="0" role="region" aria-label="Stages over time"><table class="rehearsal-stages">
      <thead><tr><th scope="col">stage</th><th scope="col">0s to ${lasting(total)}</th><th scope="col" class="rehearsal-end">hosts</th><th scope="col" class="rehearsal-end">at once</th><th scope="col">not well</th></tr></thead>
      <tbody>${r.stages.map((/** @type {any} */ s) => html`<tr key=${s.track + s.stage}><th scope="row"><code>${s.stage}</code></th>
        <td class="rehearsal-time"><span class="unseen">from ${lasting(s.from * 1000)} to ${lasting(s.to * 1000)}</span><span class="rehearsal-bar" data-state=${bad(s) ? 'failed' : 'succeeded'} style=${{marginInlineStart: `${share(s.from, r.seconds)}%`, width: `${Math.max(1, share(s.to, r.seconds) - share(s.from, r.seconds))}%`}}></span></td>
        <td class="rehearsal-end">${number(s.hosts)}</td><td class="rehearsal-end">${number(s.at_once)}</td><td>${bad(s)}</td></tr>`)}</tbody>
    </table></div>`;
}

/** @param {number} part @param {number} whole */
const share = (part, whole) => Math.round(1000 * part / Math.max(whole, 0.001)) / 10;

/** @param {any} s */
const bad = (s) => outcomes.filter((o) => o !== 'succeeded' && s.outcomes[o] > 0).map((o) => `${number(s.outcomes[o])} ${word[/** @type {keyof typeof word} */ (o)]}`).join(', ');

const wide = 1000, high = 120;

/** Hosts over time, as steps: out of service, running, failed. @param {{r: any}} p */
function Chart({r}) {
  const top = Math.max(1, ...r.points.map((/** @type {any} */ p) => Math.max(p.out, p.failed)));
  const x = (/** @type {number} */ at) => (wide * at / Math.max(r.seconds, 0.001)).toFixed(1);
  const y = (/** @type {number} */ n) => (high - high * n / top).toFixed(1);
  /** @param {string} name @param {boolean} [closed] */
  const steps = (name, closed) => {
    let d = `M0 ${closed ? high : y(r.points[0]?.[name] ?? 0)}`;
    for (const p of r.points) d += `H${x(p.at)}V${y(p[name])}`;
    return d + `H${wide}` + (closed ? `V${high}Z` : '');
  };
  return html`<figure class="rehearsal-chart">
    <figcaption class="small"><span class="rehearsal-key" data-line="out">out of service</span> <span class="rehearsal-key" data-line="running">running</span> <span class="rehearsal-key" data-line="failed">did not succeed, so far</span> <span class="quiet">up to ${count(top, 'host')}</span></figcaption>
    <svg viewBox=${`0 0 ${wide} ${high}`} preserveAspectRatio="none" role="img" aria-label=${`Hosts over ${lasting(r.seconds * 1000)}: at most ${r.most} out of service at once`}>
      <path data-line="out" d=${steps('out', true)} /><path data-line="running" d=${steps('running')} /><path data-line="failed" d=${steps('failed')} />
    </svg>
    <p class="small quiet rehearsal-axis"><span>0s</span><span>${lasting(r.seconds * 1000)}</span></p>
  </figure>`;
}
