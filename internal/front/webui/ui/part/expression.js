// Where a target expression is typed: it shows at once which hosts it means, or where it is wrong, and offers words.
import {html, useState, useRef, useId} from '../vendor/preact.js';
import {get} from '../lib/api.js';
import {part} from '../lib/place.js';
import {count, number} from '../lib/words.js';
import {useAsking} from '../lib/load.js';

/** The end of a text that a word could take the place of. @param {string} text */
const last = (text) => /[^,&!() \t\r\n]*$/.exec(text)?.[0] ?? '';

/**
 * @param {{ns: string, value: string, onChange: (text: string) => void, label: string, hint?: any}} p
 */
export function Expression({ns, value, onChange, label, hint}) {
  const id = useId();
  const field = useRef(/** @type {HTMLInputElement|null} */ (null));
  const [upTo, setUpTo] = useState(/** @type {string|null} */ (null)); // text before the caret while words are offered
  const [chosen, choose] = useState(-1);
  const meant = useAsking(value.trim() ? (signal) => get(`namespaces/${part(ns)}/hosts`, {targets: value, limit: 0}, signal) : null, `${ns} ${value}`, 150);
  const offered = useAsking(upTo !== null ? (signal) => get(`namespaces/${part(ns)}/hosts/complete`, {text: upTo, limit: 12}, signal) : null, `${ns} ${upTo}`, 80);
  const words = upTo === null || offered.error ? [] : (offered.data?.words ?? []).filter((/** @type {any} */ w) => w.text !== last(upTo));
  const open = words.length > 0;
  const at = open ? Math.min(chosen, words.length - 1) : -1;

  const close = () => { setUpTo(null); choose(-1); };
  /** @param {string} word */
  const take = (word) => {
    const caret = upTo?.length ?? value.length;
    const begin = value.slice(0, caret - last(value.slice(0, caret)).length) + word;
    onChange(begin + value.slice(caret));
    close();
    const f = field.current;
    if (f) { f.focus(); requestAnimationFrame(() => f.setSelectionRange(begin.length, begin.length)); }
  };
  /** @param {InputEvent} e */
  const typed = (e) => {
    const f = /** @type {HTMLInputElement} */ (e.currentTarget);
    onChange(f.value);
    const before = f.value.slice(0, f.selectionStart ?? f.value.length);
    setUpTo(last(before) ? before : null);
    choose(-1);
  };
  /** @param {KeyboardEvent} e */
  const key = (e) => {
    const f = /** @type {HTMLInputElement} */ (e.currentTarget);
    if (e.key === 'ArrowDown' && upTo === null) { setUpTo(f.value.slice(0, f.selectionStart ?? f.value.length)); choose(0); }
    else if (!open) return;
    else if (e.key === 'ArrowDown') choose((at + 1) % words.length);
    else if (e.key === 'ArrowUp') choose((at + words.length - (at < 0 ? 0 : 1)) % words.length);
    else if (e.key === 'Enter' && at >= 0) take(words[at].text);
    else if (e.key === 'Escape') close();
    else return;
    e.preventDefault();
  };
  const none = meant.error?.status === 404; // no fleet was applied: names are the hosts themselves
  const wrong = !meant.loading && !none && !open && meant.error; // words that are offered say it better
  return html`<div class="expression">
    <label for=${id}>${label}</label>
    <div class="expression-field">
      <input ref=${field} id=${id} type="text" class="mono" value=${value} onInput=${typed} onKeyDown=${key} onBlur=${close}
        role="combobox" aria-autocomplete="list" aria-expanded=${String(open)} aria-controls=${`${id}-words`} aria-activedescendant=${at >= 0 ? `${id}-${at}` : null}
        aria-invalid=${wrong ? 'true' : null} aria-describedby=${`${id}-means`} autocomplete="off" autocapitalize="none" spellcheck=${false} />
      <ul id=${`${id}-words`} role="listbox" aria-label="Words" hidden=${!open}>
        ${words.map((/** @type {any} */ w, /** @type {number} */ i) => html`<li key=${w.text} id=${`${id}-${i}`} role="option" aria-selected=${String(i === at)} onPointerDown=${(/** @type {Event} */ e) => { e.preventDefault(); take(w.text); }}>
          <code>${w.text}</code> <span class="small quiet">${w.kind === 'tag' ? count(w.hosts, 'host') : 'host'}</span></li>`)}
      </ul>
    </div>
    <div id=${`${id}-means`} class="expression-means" role="status">${wrong ? html`<${Wrong} error=${meant.error} text=${value} />`
    : !value.trim() ? html`<p class="small quiet">${hint ?? 'Such as $web & !$canary, web[01-20], or all.'}</p>`
    : none ? html`<p class="small quiet">No fleet was applied here: names are the hosts themselves.</p>` : meant.data && html`<${Some} some=${meant.data.folded} />`}</div>
  </div>`;
}

/** Where an expression is wrong, and what was expected there. @param {{error: any, text: string}} p */
export function Wrong({error, text}) {
  const at = error.errors?.find((/** @type {any} */ e) => e.column);
  if (!at) return html`<div class="expression-wrong"><p>${error.message}</p>${error.hint && html`<p class="small">Next: ${error.hint}</p>`}</div>`;
  const line = Array.from(text.split('\n')[at.line - 1] ?? '');
  const wide = 30;
  const from = line.length > 2 * wide ? Math.max(0, at.column - 1 - wide) : 0;
  return html`<div class="expression-wrong">
    <p>${at.message} <span class="small quiet">(column ${number(at.column)})</span></p>
    <pre aria-hidden="true">${line.slice(from, from + 2 * wide).join('')}${'\n'}${' '.repeat(Math.max(0, at.column - 1 - from))}^</pre>
    ${error.hint && html`<p class="small">${error.hint}</p>`}
  </div>`;
}

/** How many hosts, and which, in few words. @param {{some: {count: number, text?: string, more?: number}, one?: string}} p */
export const Some = ({some, one = 'host'}) => html`<p class="some"><strong class="num">${count(some.count, one)}</strong>${some.text && html`<code>${some.text}</code>`}${some.more ? html`<span class="small quiet">and ${number(some.more)} more</span>` : null}</p>`;
