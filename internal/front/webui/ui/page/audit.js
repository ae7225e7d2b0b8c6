// Who did what, newest first, and whether the log still has all that was seen of it.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {get} from '../lib/api.js';
import {useLoad} from '../lib/load.js';
import {onSignedIn} from '../lib/signed.js';
import {useQuery} from '../lib/router.js';
import {count, moment, number} from '../lib/words.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Acts} from '../part/acts.js';
import {WhyNot, useMay} from '../part/may.js';
import {Copy} from '../part/copy.js';

const fields = ['who', 'namespace', 'text', 'since', 'until', 'refused'];
const size = 100;

/** A time of a form's field, in the reader's time, as the API wants it. @param {string|null} local */
const exact = (local) => { const at = local ? new Date(local) : null; return at && !isNaN(at.getTime()) ? at.toISOString() : ''; };

export function Audit() {
  const [query, change] = useQuery();
  /** @type {Record<string, string>} */
  const wish = Object.fromEntries(fields.map((f) => [f, query.get(f) ?? '']));
  const may = useMay('')['audit.see']; // asked first: to try what one may not do is noted as a refusal
  return html`<${Page} title="Audit">
    <${WhyNot} of=${[may]} />
    ${may?.may && html`<${Standing} /><${Filter} wish=${wish} change=${change} /><${List} wish=${wish} key=${JSON.stringify(wish)} />`}
  </${Page}>`;
}

/** @param {{wish: Record<string, string>, change: any}} p */
function Filter({wish, change}) {
  const id = useId();
  const at = useRef(/** @type {HTMLFormElement|null} */ (null));
  const read = (/** @type {Event} */ e) => {
    e.preventDefault();
    const f = new FormData(/** @type {HTMLFormElement} */ (at.current));
    change(Object.fromEntries(fields.map((name) => [name, String(f.get(name) ?? '').trim() || null])), {push: true});
  };
  const field = (/** @type {string} */ name, /** @type {string} */ text, type = 'text') => html`<div class="audit-field"><label for=${id + name}>${text}</label>
    <input id=${id + name} name=${name} type=${type} value=${wish[name]} key=${name + wish[name]} /></div>`;
  const any = fields.some((f) => wish[f]);
  const [open] = useState(any || matchMedia('(min-width: 48rem)').matches); // on a phone the acts come first
  return html`<details class="audit-filter" open=${open}><summary>Filter</summary><form ref=${at} role="search" aria-label="Filter" onSubmit=${read}>
    ${field('who', 'Who')}${field('namespace', 'Namespace')}${field('text', 'Text', 'search')}${field('since', 'Since', 'datetime-local')}${field('until', 'Before', 'datetime-local')}
    <label class="audit-check"><input type="checkbox" name="refused" value="true" checked=${wish.refused === 'true'} key=${'refused' + wish.refused} /> only refused</label>
    <div class="row audit-go"><button type="submit" class="main">Show</button>
      ${any && html`<button type="button" onClick=${() => change(Object.fromEntries(fields.map((f) => [f, null])), {push: true})}>Show all</button>`}</div>
  </form></details>`;
}

/** @param {{wish: Record<string, string>}} p */
function List({wish}) {
  const [got, set] = useState(/** @type {{entries: any[], next?: string, reached?: string, error?: any, busy: boolean}} */ ({entries: [], busy: true}));
  const stop = useRef(new AbortController());
  /** Goes on until there is something to show, or it was long. @param {any[]} entries @param {string} [cursor] */
  const more = async (entries, cursor) => {
    set((was) => ({...was, error: undefined, busy: true}));
    const goal = entries.length + size;
    try {
      for (let tries = 0; tries < 10; tries++) {
        const page = await get('audit/entries', {who: wish.who, namespace: wish.namespace, text: wish.text, since: exact(wish.since), until: exact(wish.until),
          refused: wish.refused === 'true' || '', limit: size, cursor}, stop.current.signal);
        entries = [...entries, ...page.entries];
        cursor = page.next;
        set({entries, next: page.next, reached: page.reached, busy: !!page.next && entries.length < goal && tries < 9});
        if (!page.next || entries.length >= goal) return;
      }
    } catch (error) {
      if (!stop.current.signal.aborted) set((was) => ({...was, error, busy: false}));
    }
  };
  useEffect(() => {
    const first = () => { void more([]); };
    first();
    onSignedIn.add(first);
    return () => { onSignedIn.delete(first); stop.current.abort(); };
  }, []);
  const {entries, next, reached, error, busy} = got;
  return html`<section aria-labelledby="acts" class="stack"><div class="row"><h2 id="acts">Who did what</h2>
      <span class="quiet small" role="status">${error ? '' : busy ? `Looking${reached ? `, back to ${moment(reached).slice(0, 16)}` : ''}` : said(entries.length, next, reached)}</span></div>
    <${Trouble} error=${error} what="It is not shown" />
    ${entries.length > 0 && html`<${Acts} entries=${entries} />`}
    ${next && !busy && html`<p><button type="button" onClick=${() => more(entries, next)}>Further back</button></p>`}
  </section>`;
}

/** @param {number} n @param {string} [next] @param {string} [reached] */
const said = (n, next, reached) => next ? `${n ? `${count(n, 'entry', 'entries')}, ` : 'Nothing yet, '}looked back to ${reached ? moment(reached).slice(0, 16) : 'now'}`
  : n ? `${count(n, 'entry', 'entries')}: these are all` : 'There is nothing of that';

function Standing() {
  const {data, error} = useLoad('audit/standing');
  const heads = useLoad(data ? 'heads' : null);
  if (error) return null; // the list says why
  if (!data) return html`<section class="card" aria-label="Standing"><p class="quiet">Asking how the log stands</p></section>`;
  const bad = data.unfit.length > 0;
  return html`<section class="card" aria-labelledby="standing"><h2 id="standing">${bad ? 'The log went backwards or was changed' : 'The log has all that others have seen of it'}</h2>
    ${bad && html`<div class="trouble" role="alert"><p>Nothing starts until it is explained. What others have seen, and the log does not have:</p><${Heads} list=${data.unfit} />
      <p class="small">Next: <code>sluice audit witness</code>, and the chapter "When the log went backwards".</p></div>`}
    <p>Epoch ${number(data.epoch)}${data.epoch === 0 ? ': it was never restored or repaired' : ''}. ${heads.data && html`It ends at ${heads.data.heads.map((/** @type {any} */ h, /** @type {number} */ i) => html`${i > 0 && ', '}<span class="num">${number(h.seq)}</span> in ${h.namespace === '.access' ? 'who may do what' : h.namespace}`)}.`}</p>
    ${data.lost.length > 0 && html`<details><summary>${count(data.lost.length, 'head')} that a restore or repair explains</summary><${Heads} list=${data.lost} /></details>`}
    <p class="small quiet row"><span>This is what the server says of itself. Proof is made where you run <code>sluice audit verify</code>, from the records themselves.</span> <${Copy} text="sluice audit verify" label="the command" /></p>
  </section>`;
}

/** @param {{list: any[]}} p */
const Heads = ({list}) => html`<ul class="small">${list.map((h) => html`<li key=${h.namespace + h.seq}>${h.namespace}: event ${number(h.seq)}, <code>${String(h.hash).slice(0, 16)}…</code></li>`)}</ul>`;
