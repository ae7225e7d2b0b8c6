// Which jobs: what is said stands in the address, so that it can be sent to somebody.
import {html, useState, useEffect, useRef} from '../vendor/preact.js';
import {useQuery} from '../lib/router.js';
import {word} from '../lib/words.js';

const names = /** @type {const} */ (['text', 'state', 'by', 'namespace', 'tag']);
const states = ['waiting', 'running', 'paused', 'halted', 'succeeded', 'failed', 'cancelled'];

/** What the address says, as the API takes it. @param {URLSearchParams} query @returns {Record<string, string>} */
export function filterOf(query) {
  /** @type {Record<string, string>} */
  const out = {};
  for (const n of names) {
    const v = query.get(n);
    if (v) out[n] = v;
  }
  return out;
}

/** @param {{seen: import('../lib/jobs.js').Job[]}} p seen: whose names are offered */
export function JobFilter({seen}) {
  const [query, change] = useQuery();
  const address = names.map((n) => query.get(n) ?? '').join('\n');
  const [typed, type] = useState(/** @type {Record<string, string>} */ ({}));
  const later = useRef(0);
  const waits = useRef(/** @type {Record<string, string>} */ ({})); // what is typed and not in the address yet
  const mine = useRef(address); // what was put into the address from here: who types on meanwhile keeps it
  useEffect(() => {
    if (address === mine.current) return;
    clearTimeout(later.current); // back and links count, not what is half typed
    [mine.current, waits.current] = [address, {}];
    type({});
  }, [address]);
  useEffect(() => () => clearTimeout(later.current), []);
  const put = () => {
    clearTimeout(later.current);
    const all = waits.current, there = new URLSearchParams(location.search);
    waits.current = {};
    mine.current = names.map((n) => all[n] ?? there.get(n) ?? '').join('\n');
    change({...all, cursor: null});
  };
  const set = (/** @type {string} */ name, /** @type {string} */ value, now = false) => {
    type((was) => ({...was, [name]: value}));
    waits.current = {...waits.current, [name]: value.trim()};
    clearTimeout(later.current);
    if (now) put();
    else later.current = setTimeout(put, 300);
  };
  const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string[]} */ offers) => html`<label class="jobfilter-field">${label}
    <input type=${name === 'text' ? 'search' : 'text'} autocomplete="off" spellcheck="false" list=${offers.length ? `jobfilter-${name}` : null} value=${typed[name] ?? query.get(name) ?? ''}
      onInput=${(/** @type {any} */ e) => set(name, e.currentTarget.value)} onChange=${(/** @type {any} */ e) => set(name, e.currentTarget.value, true)} />
    ${offers.length > 0 && html`<datalist id=${`jobfilter-${name}`}>${offers.map((o) => html`<option key=${o} value=${o} />`)}</datalist>`}</label>`;
  const all = (/** @type {'by'|'namespace'} */ name) => [...new Set(seen.map((j) => j[name]))].sort().slice(0, 50);
  const any = names.some((n) => query.get(n));
  const [wide] = useState(() => matchMedia('(min-width: 40rem)').matches);
  return html`<details class="jobfilter" open=${any || wide}><summary>Filter</summary><form class="jobfilter-fields" role="search" aria-label="Which jobs" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
    ${field('text', 'Text', [])}
    <label class="jobfilter-field">State <select value=${query.get('state') ?? ''} onChange=${(/** @type {any} */ e) => set('state', e.currentTarget.value, true)}>
      <option value="">any</option>
      <option value="waiting,running,paused,halted">not over</option>
      ${states.map((s) => html`<option key=${s} value=${s}>${word[/** @type {keyof typeof word} */ (s)]}</option>`)}</select></label>
    ${field('by', 'User', all('by'))}
    ${field('namespace', 'Namespace', all('namespace'))}
    ${field('tag', 'Tag', [])}
    ${any && html`<button type="button" onClick=${() => { type({}); change({text: null, state: null, by: null, namespace: null, tag: null, cursor: null}, {push: true}); }}>All jobs</button>`}
  </form></details>`;
}
