// What went wrong, in full, with what to do next.
import {html} from '../vendor/preact.js';

/** @param {{error: any, what?: string}} p what: what was tried, as a sentence begins: "The job was not submitted" */
export const Trouble = ({error, what}) => error && html`<div class="trouble" role="alert">
  <p>${what && html`<strong>${what}:</strong> `}${error.message}</p>
  ${error.errors?.map((/** @type {any} */ e) => html`<p class="small"><code>${e.location}</code> ${e.message}</p>`)}
  ${error.hint && html`<p class="small">Next: ${error.hint}</p>`}
</div>`;
