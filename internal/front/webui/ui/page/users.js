// Who is known to the server, and with what.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {useSession} from '../lib/session.js';
import {count} from '../lib/words.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {grant} from '../part/rights.js';
import {WhyNot, useMay} from '../part/may.js';

/** Tokens that still open something. @param {any[]} tokens */
export const live = (tokens) => tokens.filter((t) => !t.expired && !t.ended);

export function Users() {
  const may = useMay('')['access.see'];
  const {data, error} = useLoad(may?.may ? 'access/people' : null);
  const {me} = useSession();
  const people = data?.people ?? [];
  const there = people.filter((/** @type {any} */ p) => !p.removed);
  const gone = people.filter((/** @type {any} */ p) => p.removed);
  return html`<${Page} title="Users" head=${data && html`<span class="quiet">${count(there.length, 'user')}</span>`}>
    <${Trouble} error=${error} what="Who is known is not shown" />
    <${WhyNot} of=${[may]} />
    ${may && !may.may && me && html`<p><a href=${href(`users/${part(me.principal)}`)}>What you may do yourself</a></p>`}
    ${data && html`<div class="scroll" tabindex="0" role="region" aria-label="Users"><table>
      <thead><tr><th scope="col">name</th><th scope="col">roles</th><th scope="col">tokens</th><th scope="col">browsers</th></tr></thead>
      <tbody>${there.map((/** @type {any} */ p) => {
        const tokens = live(p.tokens), browsers = tokens.filter((t) => t.kind === 'session').length;
        return html`<tr key=${p.principal}><td><a href=${href(`users/${part(p.principal)}`)}>${p.principal}</a>${p.principal === me?.principal && html` <span class="quiet small">you</span>`}</td>
          <td>${p.grants.length ? html`<ul>${p.grants.map((/** @type {any} */ g) => html`<li key=${grant(g)}>${grant(g)}</li>`)}</ul>` : html`<span class="quiet">none</span>`}</td>
          <td class="num">${tokens.length - browsers || html`<span class="quiet">none</span>`}</td><td class="num">${browsers || html`<span class="quiet">none</span>`}</td></tr>`;
      })}</tbody></table></div>`}
    ${gone.length > 0 && html`<p class="small quiet">Removed, with nothing left: ${gone.map((/** @type {any} */ p, /** @type {number} */ i) => html`${i > 0 && ', '}<a href=${href(`users/${part(p.principal)}`)}>${p.principal}</a>`)}</p>`}
    ${data && html`<p class="small quiet">People and roles are changed by the command line: <code>sluice access add</code>, <code>sluice access grant</code>.</p>`}
  </${Page}>`;
}
