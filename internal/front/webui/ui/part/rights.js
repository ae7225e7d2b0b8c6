// What somebody may do and where, in words.
import {html} from '../vendor/preact.js';

/** What each right is for, in words, in the order in which people ask. @type {[string, string][]} */
export const rights = [
  ['job.see', 'see jobs'], ['job.output', 'see what commands print'], ['job.submit', 'run commands, copy and fetch'], ['job.halt', 'halt jobs'],
  ['job.control', 'resume, retry, skip and cancel'], ['job.approve', 'approve'], ['host.change', 'hold, release, retire and return hosts'],
  ['fleet.see', 'see fleets'], ['fleet.apply', 'apply fleets'], ['access.see', 'see who may do what'], ['access.give', 'give and take rights'],
  ['audit.see', 'read the audit'], ['server.see', 'see the server and its workers'], ['server.run', 'run the server: workers, webhooks, host keys'],
];

/** @param {{namespace?: string, tags?: string[]}} p */
const place = (p) => `${p.namespace ? `in ${p.namespace}` : 'in every namespace'}${p.tags?.length ? ` on ${p.tags.map((t) => '$' + t).join(', ')}` : ''}`;

/** Where a right holds, in words. @param {any} hold */
export const where = (hold) => hold.everywhere ? 'everywhere' : (hold.places ?? []).map(place).join('; ');

/** A grant in words: operator in prod on $web. @param {any} g */
export const grant = (g) => `${g.role} ${g.namespace ? `in ${g.namespace}` : 'everywhere'}${g.tags?.length ? ` on ${g.tags.map((/** @type {string} */ t) => '$' + t).join(', ')}` : ''}`;

/** @param {{holds: any[]}} p every right, with where it holds; those that hold nowhere too */
export function Rights({holds}) {
  const by = new Map(holds.map((h) => [h.right, h]));
  return html`<table class="rights"><caption class="unseen">Rights, and where they hold</caption>
    <thead><tr><th scope="col">may</th><th scope="col">where</th><th scope="col">right</th></tr></thead>
    <tbody>${rights.map(([right, text]) => {
      const h = by.get(right);
      return html`<tr key=${right} class=${h ? '' : 'quiet'}><th scope="row">${text}</th><td>${h ? where(h) : 'nowhere'}</td><td class="small"><code>${right}</code></td></tr>`;
    })}</tbody></table>`;
}
