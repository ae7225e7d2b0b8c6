// A question with an effect that is said before: a reason, and a word to type where much depends on it.
import {html, useState} from '../vendor/preact.js';
import {Dialog} from './dialog.js';
import {Trouble} from './trouble.js';

/**
 * @param {{title: string, children: any, word?: string, reason?: boolean, verb: string, stop?: boolean, onClose: () => void, onDo: (reason: string) => Promise<any>}} p
 * word: what has to be typed; reason: a reason is asked for; verb: what the button says; children: what will happen
 */
export function Typed({title, children, word, reason, verb, stop, onClose, onDo}) {
  const [why, setWhy] = useState('');
  const [typed, type] = useState('');
  const [error, set] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const wrong = word && typed.trim() !== word ? `Type ${word} to confirm.` : '';
  const act = async (/** @type {Event} */ e) => {
    e.preventDefault();
    if (busy || wrong) { if (wrong) set(new Error(wrong)); return; }
    setBusy(true);
    set(null);
    try { await onDo(why); onClose(); } catch (err) { set(err); setBusy(false); }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form class="stack" onSubmit=${act}>
    ${children}
    ${reason && html`<label class="stack">Why <input value=${why} maxLength="1000" onInput=${(/** @type {any} */ e) => setWhy(e.currentTarget.value)} /></label>`}
    ${word && html`<label class="stack"><span>Type <code>${word}</code> to confirm</span> <input value=${typed} autocomplete="off" spellcheck="false" onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} /></label>`}
    <${Trouble} error=${error} />
    <div class="row"><button type="submit" class=${stop ? 'stop' : 'main'} aria-disabled=${busy || wrong ? 'true' : null}>${verb}</button><button type="button" onClick=${onClose}>Leave it</button></div>
  </form></${Dialog}>`;
}
