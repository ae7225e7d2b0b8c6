// What can be done to a job, where one looks at it. Halt is one click; everything else says first what it would do.
import {html, useState, useEffect, useRef} from '../vendor/preact.js';
import {post} from '../lib/api.js';
import {part} from '../lib/place.js';
import {word} from '../lib/words.js';
import {Control, WhyNot, useMayJob} from './may.js';
import {Asked, undone} from './asked.js';
import {Trouble} from './trouble.js';

/** @typedef {{id: string, state: string, command?: string, halting?: boolean, cancelling?: boolean, targets: number, running: number, unsettled: number,
 *   failures: number, budget: number, generation: number, counts: Record<string, number>, gates?: {stage: string, kind: string}[], plan_digest?: string}} JobNow */

const over = ['succeeded', 'failed', 'cancelled'];
const bad = ['failed', 'unreachable', 'timed_out', 'cancelled'];

/** Which controls make sense for a job as it stands, in the order in which they are shown. @param {JobNow} j */
export function sensible(j) {
  const done = over.includes(j.state), unknown = (j.counts.unknown ?? 0) > 0;
  const gates = j.gates?.some((g) => g.kind === 'approval');
  /** @type {[string, any][]} */
  const list = [
    ['halt', !done && j.state !== 'halted' && !j.halting && !j.cancelling],
    ['approve', gates && !done && !j.cancelling],
    ['resume', (j.state === 'halted' || j.halting || done && unknown) && !j.cancelling],
    ['retry', bad.some((o) => (j.counts[o] ?? 0) > 0) && !j.cancelling],
    ['settle', unknown && (done || j.state === 'halted')],
    ['skip', !done && !j.cancelling && j.unsettled + j.failures > 0],
    ['cancel', !done && !j.cancelling],
  ];
  return list.filter(([, is]) => is).map(([name]) => name);
}

const acts = {
  approve: {text: 'Approve', title: 'Approve this job?', said: 'Approved.'},
  resume: {text: 'Resume', title: 'Resume this job?', said: 'Resumed.'},
  retry: {text: 'Retry', title: 'Try hosts again?', said: 'They are tried again.'},
  settle: {text: 'Ask for outcomes', title: 'Ask hosts how it ended?', said: 'The hosts were asked.'},
  skip: {text: 'Skip', title: 'Leave hosts out?', said: 'Skipped.'},
  cancel: {text: 'Cancel', verb: 'Cancel the job', title: 'Cancel this job?', said: 'Cancelled.'},
};

const store = 'sluice-key-halt';
const kept = () => { try { return localStorage.getItem(store) !== 'off'; } catch { return true; } };
/** @param {boolean} on */
const keep = (on) => { try { localStorage.setItem(store, on ? 'on' : 'off'); } catch { /* it lasts as long as the page */ } };

/** Calls f when the key is pressed where nothing else takes it. @param {string} key @param {boolean} on @param {() => void} f */
function useKey(key, on, f) {
  const now = useRef({on, f});
  now.current = {on, f};
  useEffect(() => {
    /** @param {KeyboardEvent} e */
    const hear = (e) => {
      const at = /** @type {HTMLElement|null} */ (e.target);
      if (!now.current.on || e.key !== key || e.repeat || e.ctrlKey || e.altKey || e.metaKey || e.defaultPrevented) return;
      if (at?.closest?.('input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]') || document.querySelector('dialog[open]')) return;
      e.preventDefault();
      now.current.f();
    };
    document.addEventListener('keydown', hear);
    return () => document.removeEventListener('keydown', hear);
  }, [key]);
}

/**
 * The controls of a job, as it is shown. On its own page they stay in reach at the bottom of a phone, and h halts; in rows
 * and for one host there are only the buttons.
 * @param {{job: JobNow, hosts?: string[], only?: string[], page?: boolean}} p
 * hosts: those that retry and skip are about; only: controls to choose from; page: these are the main ones of the page
 */
export function Controls({job, hosts, only, page = false}) {
  const may = useMayJob(job.id);
  const [asking, ask] = useState('');
  const [said, say] = useState('');
  const [failed, fail] = useState(/** @type {any} */ (null));
  const [halting, setHalting] = useState(false);
  const [key, setKey] = useState(kept);
  const going = useRef(false);
  const shown = sensible(job).filter((a) => !only || only.includes(a));

  const halt = async () => {
    if (going.current) return;
    going.current = true;
    setHalting(true);
    fail(null);
    try {
      const made = await post(`jobs/${part(job.id)}/halt`);
      say(made.kept ? `The server ${made.kept.server} keeps the halt until it has contact with a majority of the others. Where those have one without it, the job goes on: then halt it there, too.`
        : 'Halted: nothing more starts. Resume undoes it.');
    } catch (e) {
      say('');
      fail(e);
    } finally {
      going.current = false;
      setHalting(false);
    }
  };
  const canHalt = shown.includes('halt') && may.halt?.may === true;
  useKey('h', page && key && canHalt, halt);
  const done = (/** @type {string} */ text) => { ask(''); fail(null); say(text); };

  return html`<section class=${page ? 'controls controls-page' : 'controls'} aria-label="Controls">
    ${shown.length > 0 && html`<div class="row controls-row">
      ${shown.map((a) => a === 'halt'
        ? html`<${Control} key="halt" may=${may.halt} class="stop" onClick=${halt} aria-keyshortcuts=${page && key ? 'h' : null}>${halting ? 'Halting …' : 'Halt'}</${Control}>`
        : html`<${Control} key=${a} may=${may[a]} class=${a === 'approve' || a === 'resume' ? 'main' : ''} aria-haspopup="dialog" onClick=${() => { say(''); ask(a); }}>${/** @type {any} */ (acts)[a].text}</${Control}>`)}
      ${page && canHalt && html`<label class="controls-key small"><input type="checkbox" checked=${key} onChange=${(/** @type {any} */ e) => { keep(e.target.checked); setKey(e.target.checked); }} /> <kbd>h</kbd> halts</label>`}
    </div>`}
    ${shown.includes('approve') && html`<${WhyNot} of=${[may.approve]} />`}
    <p class="controls-said" role="status">${said}</p>
    <${Trouble} error=${failed} what=${undone(failed)} />
    ${asking && html`<${Ask} act=${asking} job=${job} hosts=${hosts} onClose=${() => ask('')} onDone=${() => done(/** @type {any} */ (acts)[asking].said)} />`}
  </section>`;
}

/** What an act on a job is asked with. @param {{act: string, job: JobNow, hosts?: string[], onClose: () => void, onDone: () => void}} p */
function Ask({act, job, hosts, onClose, onDone}) {
  const [budget, setBudget] = useState('');
  const [names, setNames] = useState((hosts ?? []).join(' '));
  const [stage, setStage] = useState('');
  const {text, verb, title} = /** @type {any} */ (acts)[act];
  const named = names.split(/[\s,]+/).filter(Boolean);
  const gates = (job.gates ?? []).filter((g) => g.kind === 'approval');
  const goesOn = act === 'resume' || act === 'retry', onSome = act === 'skip' || act === 'retry';
  /** @type {Record<string, any>} */
  const query = {act}, /** @type {Record<string, any>} */ body = {};
  if (onSome) { query.host = named; if (named.length) body.hosts = named; }
  if (goesOn && budget.trim()) { query.max_failures = budget.trim(); body.max_failures = budget.trim(); }
  if (act === 'approve') {
    Object.assign(query, {stage, plan: job.plan_digest});
    if (stage) body.stage = stage;
    if (job.plan_digest) body.plan = job.plan_digest;
  }
  const known = [job.state, job.halting, job.cancelling, job.generation, job.running, job.unsettled, job.failures, job.gates];
  return html`<${Asked} title=${title} verb=${verb ?? text} stop=${act === 'cancel'} effect=${`jobs/${part(job.id)}/effect`} query=${query} known=${known}
      path=${`jobs/${part(job.id)}/${act}`} body=${body} reason=${act === 'skip' ? 'must' : act === 'cancel' ? 'may' : ''}
      ready=${act !== 'skip' || named.length > 0} busy=${act === 'settle' ? 'Asking the hosts …' : 'Doing it …'} onClose=${onClose} onDone=${onDone}>
    <p class="small quiet">Job <span class="mono">${job.id}</span>, ${job.halting ? 'being halted' : job.cancelling ? 'being cancelled' : /** @type {any} */ (word)[job.state] ?? job.state}${job.command ? html`: <code>${job.command.slice(0, 200)}</code>` : ''}</p>
    ${onSome && html`<label class="stack asked-field">${act === 'skip' ? 'Hosts to leave out' : html`<span>Hosts to try again <span class="quiet">(none: all that ended badly)</span></span>`}
      <input type="text" autocomplete="off" spellcheck="false" value=${names} onInput=${(/** @type {any} */ e) => setNames(e.target.value)} /></label>`}
    ${goesOn && job.budget >= 0 && html`<label class="stack asked-field"><span>Hosts that may fail <span class="quiet">(now ${job.budget}, and ${job.failures} did)</span></span>
      <input type="text" autocomplete="off" value=${budget} onInput=${(/** @type {any} */ e) => setBudget(e.target.value)} /></label>`}
    ${act === 'approve' && gates.length > 1 && html`<label class="stack asked-field">Gate
      <select value=${stage} onChange=${(/** @type {any} */ e) => setStage(e.target.value)}><option value="">all that wait</option>${gates.map((g) => html`<option key=${g.stage} value=${g.stage}>behind ${g.stage}</option>`)}</select></label>`}
  </${Asked}>`;
}
