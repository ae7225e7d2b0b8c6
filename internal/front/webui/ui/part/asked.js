// Before something is done: what would follow, told by the server and kept fresh while one thinks; then doing it, on exactly
// what was seen.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {get, post, Problem} from '../lib/api.js';
import {clean} from '../lib/clean.js';
import {number} from '../lib/words.js';
import {Dialog} from './dialog.js';
import {Trouble} from './trouble.js';

/** How long changes may gather before the effect is asked for again, and how often it is asked for whatever is known: other
 * jobs and hosts change what it says, too. */
const gather = 400, often = 3000;

/**
 * The effect of an act, asked again when the question or what is known changes. An old answer stays until there is a new one.
 * @param {string} path @param {Record<string, any>} query @param {any} known
 */
function useEffectOf(path, query, known) {
  const [got, set] = useState(/** @type {{effect?: any, error?: any, key?: string}} */ ({}));
  const [n, again] = useState(0);
  const first = useRef(true);
  const question = JSON.stringify([path, query]);
  const key = JSON.stringify([question, known, n]);
  useEffect(() => {
    const stop = new AbortController();
    const wait = setTimeout(() => {
      get(path, query, stop.signal).then((effect) => set({effect, key: question}), (error) => { if (!stop.signal.aborted) set({error, key: question}); });
    }, first.current ? 0 : gather);
    first.current = false;
    return () => { clearTimeout(wait); stop.abort(); };
  }, [key]);
  useEffect(() => { const tick = setInterval(() => again((was) => was + 1), often); return () => clearInterval(tick); }, []);
  return {effect: got.effect, error: got.error, fresh: got.key === question, again: () => again((/** @type {number} */ was) => was + 1)};
}

/** What to say of an act that failed: only an answer that refuses it says that nothing was done. @param {any} e */
export const undone = (e) => e?.status >= 400 && e.status < 500 ? 'Nothing was done' : 'No answer came, and it may have been done';

/**
 * A dialog that says what an act would do, and does it.
 * @param {{title: string, verb: string, stop?: boolean, effect: string, query: Record<string, any>, known?: any, path: string, body: Record<string, any>,
 *   reason?: ''|'may'|'must', ready?: boolean, busy?: string, onClose: () => void, onDone: (answer: any) => void, children?: any}} p
 * effect: path of the effect, query: its question, known: what it follows from, to ask again; path, body: how the act is done;
 * reason: whether one is wanted; children: fields of the act
 */
export function Asked({title, verb, stop, effect: at, query, known, path, body, reason = '', ready = true, busy = 'Doing it …', onClose, onDone, children}) {
  const {effect, error, fresh, again} = useEffectOf(at, query, known);
  const [why, setWhy] = useState('');
  const [typed, setTyped] = useState('');
  const [doing, setDoing] = useState(false);
  const [failed, setFailed] = useState(/** @type {any} */ (null));
  const going = useRef(false);
  const ids = {why: useId(), typed: useId(), no: useId()};
  const touches = String(effect?.touches ?? '');
  const lacks = !ready ? 'Fill in the fields above.'
    : effect?.refused || error ? 'It cannot be done now.'
    : !effect || !fresh ? 'The server is asked what it would do.'
    : effect.nothing ? 'There is nothing to do.'
    : reason === 'must' && !why.trim() ? 'A reason is wanted.'
    : effect.confirm && typed.trim().replace(/[,. ]/g, '') !== touches ? `Type ${touches} first.` : '';

  /** @param {Event} e */
  const act = async (e) => {
    e.preventDefault();
    if (going.current || lacks) return;
    going.current = true; // at once: a second click comes before anything is drawn
    setDoing(true);
    setFailed(null);
    try {
      onDone(await post(path, {...body, ...(reason && why.trim() ? {reason: why.trim()} : {}), ...(effect.seen ? {seen: effect.seen} : {})}));
    } catch (err) {
      setFailed(err);
      again();
    } finally {
      going.current = false;
      setDoing(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form class="stack asked" onSubmit=${act}>
      ${children}
      <div class="asked-says" aria-live="polite" aria-busy=${fresh ? null : 'true'}>
        ${effect?.refused ? html`<${Trouble} error=${new Problem(effect.refused)} what="It cannot be done" />`
          : effect ? html`<ul>${effect.says.map((/** @type {string} */ s, /** @type {number} */ i) => html`<li key=${i}>${clean(s)}</li>`)}</ul>`
          : error ? html`<${Trouble} error=${error} what="What it would do is not known" />` : html`<p class="quiet">The server is asked what it would do.</p>`}
      </div>
      ${reason && html`<div class="stack asked-field"><label for=${ids.why}>Reason${reason === 'may' ? html` <span class="quiet">(may be left out)</span>` : ''}</label>
        <input id=${ids.why} type="text" maxLength="1000" autocomplete="off" value=${why} onInput=${(/** @type {any} */ e) => setWhy(e.target.value)} /></div>`}
      ${effect?.confirm && html`<div class="stack asked-field"><label for=${ids.typed}>It is about ${number(effect.touches)} hosts, and this fleet asks above ${number(effect.confirm_above)}: type ${touches}</label>
        <input id=${ids.typed} type="text" inputmode="numeric" autocomplete="off" value=${typed} onInput=${(/** @type {any} */ e) => setTyped(e.target.value)} /></div>`}
      <${Trouble} error=${failed} what=${undone(failed)} />
      <div class="row asked-do">
        <button type="submit" class=${stop ? 'stop' : 'main'} aria-disabled=${lacks || doing ? 'true' : null} aria-describedby=${lacks ? ids.no : null}>${doing ? busy : verb}</button>
        <button type="button" onClick=${onClose}>Leave it</button>
        ${lacks && html`<span class="small quiet" id=${ids.no}>${lacks}</span>`}
      </div>
    </form>
  </${Dialog}>`;
}
