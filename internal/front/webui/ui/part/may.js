// What one may do, and why not the rest. A control that one may not use stays where it is and can be reached: it says why.
import {html, useState, useId} from '../vendor/preact.js';
import {useLoad} from '../lib/load.js';
import {part} from '../lib/place.js';

/**
 * Whether one may do something: of a job, by the name of the control (halt, cancel, resume, retry, settle, skip, approve,
 * output); elsewhere by the right, such as host.change.
 * @typedef {{do: string, right: string, may: boolean, why?: string, roles?: string[]}} May
 */

/** @param {any} list @returns {Record<string, May>} */
const byName = (list) => Object.fromEntries((list?.may ?? []).map((/** @type {May} */ m) => [m.do, m]));

/** What one may do to a job: useMayJob(id).halt. Empty until the server said it. @param {string|null} id @returns {Record<string, May>} */
export const useMayJob = (id) => byName(useLoad(id === null ? null : `jobs/${part(id)}/may`).data);

/** What one may do in a namespace, on these hosts: useMay('prod', ['web1'])['host.change']. '' is the server. @param {string} namespace @param {string[]} [hosts] @returns {Record<string, May>} */
export const useMay = (namespace, hosts) => byName(useLoad('may', {namespace, host: hosts}).data);

/**
 * A button that may be forbidden: then it is still there, takes the focus, and says why when it is pressed, pointed at or
 * reached. html`<${Control} may=${may.halt} class="stop" onClick=${halt}>Halt</${Control}>`
 * @param {{may?: May, onClick: (e: Event) => void, class?: string, children: any, [more: string]: any}} p
 */
export function Control({may, onClick, class: look, children, ...more}) {
  const id = useId();
  const [said, say] = useState(false);
  const no = may && !may.may;
  return html`<span class="may" data-said=${no && said ? '' : null} onKeyDown=${(/** @type {KeyboardEvent} */ e) => { if (e.key === 'Escape') say(false); }}>
    <button type="button" ...${more} class=${look} aria-disabled=${no ? 'true' : null} aria-describedby=${no ? id : more['aria-describedby']}
      onClick=${(/** @type {Event} */ e) => no ? say(!said) : onClick(e)} onBlur=${() => say(false)}>${children}</button>
    ${no && html`<span class="may-why" id=${id}>${sentence(may.why)}</span>`}
  </span>`;
}

/** The reasons why not, each once, for below a group of controls. @param {{of: (May|undefined)[]}} p */
export function WhyNot({of}) {
  const reasons = [...new Set(of.flatMap((m) => m && !m.may ? [sentence(m.why)] : []))];
  return reasons.length ? html`<ul class="small quiet">${reasons.map((r) => html`<li key=${r}>${r}</li>`)}</ul>` : null;
}

/** @param {string} [why] */
const sentence = (why) => !why ? 'You may not do this.' : /[.!?]$/.test(why) ? why : why + '.';
