// One user: what they may do and where, their tokens, their jobs, and what they did.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {del} from '../lib/api.js';
import {useLoad} from '../lib/load.js';
import {holds, useSession} from '../lib/session.js';
import {clean} from '../lib/clean.js';
import {moment} from '../lib/words.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Dialog} from '../part/dialog.js';
import {Mark} from '../part/mark.js';
import {When} from '../part/when.js';
import {Acts} from '../part/acts.js';
import {Rights, grant} from '../part/rights.js';
import {Control, WhyNot, useMay} from '../part/may.js';

/** @param {{name: string}} p */
export function User({name}) {
  const {me} = useSession();
  const own = me?.principal === name;
  const may = useMay(''); // asked first: to try what one may not do is noted as a refusal
  const other = useLoad(me && !own && may['access.see']?.may ? `access/people/${part(name)}` : null);
  const self = useLoad(own ? 'session' : null); // everybody may know this of themselves
  const mine = useLoad(own ? 'tokens' : null);
  const person = own ? self.data : other.data;
  const tokens = own ? mine.data?.tokens : person?.tokens;
  const again = () => { other.again(); mine.again(); };
  return html`<${Page} title=${name} up=${{href: href('users'), text: 'Users'}} head=${html`<span class="quiet">${own ? 'you' : person?.removed ? 'removed' : ''}</span>`}>
    <${Trouble} error=${other.error ?? self.error} what="Rights and tokens are not shown" />
    ${person?.removed && html`<p class="note">${name} was removed: there is no grant and no token any more.</p>`}
    <div class="user">
      <div class="stack user-side">
        ${me && !own && may['access.see'] && !may['access.see'].may && html`<section class="card" aria-labelledby="unseen"><h2 id="unseen">Roles, rights and tokens</h2><${WhyNot} of=${[may['access.see']]} /></section>`}
        ${person && !person.removed && html`<section class="card" aria-labelledby="roles"><h2 id="roles">Roles</h2>
          ${person.grants.length ? html`<ul class="user-list">${person.grants.map((/** @type {any} */ g) => html`<li key=${grant(g)}>${grant(g)}</li>`)}</ul>` : html`<p class="quiet">None: ${own ? 'you' : name} may do nothing but ask who ${own ? 'you are' : 'that is'}.</p>`}
        </section>`}
        ${tokens && html`<${Tokens} tokens=${tokens} name=${name} own=${own} used=${own ? me.token?.token : ''} give=${may['access.give']} again=${again} />`}
        ${person?.rights && html`<section class="card" aria-labelledby="rights"><h2 id="rights">Rights</h2>
          ${own && me.token && (me.token.only || me.token.namespace) && html`<p class="note small">The token that you came with is for less than your roles are. This is what you may do with it.</p>`}
          <${Rights} holds=${person.rights} /></section>`}
      </div>
      <div class="stack user-side">
        <${Jobs} name=${name} sees=${holds(me, 'job.see')} />
        <${Did} name=${name} may=${may['audit.see']} />
      </div>
    </div>
  </${Page}>`;
}

/** @param {{tokens: any[], name: string, own: boolean, used: string, give: any, again: () => void}} p */
function Tokens({tokens, name, own, used, give, again}) {
  const [all, setAll] = useState(false);
  const [asked, ask] = useState(/** @type {any} */ (null));
  const may = own ? {do: '', right: '', may: true} : give;
  const over = tokens.filter((t) => t.expired || t.ended);
  const shown = [...tokens.filter((t) => !t.expired && !t.ended), ...(all ? over : [])];
  return html`<section class="card" aria-labelledby="tokens"><h2 id="tokens">Tokens and browsers</h2>
    ${shown.length ? html`<ul class="user-list">${shown.map((t) => html`<li key=${t.token} class="user-token">
      <div><strong>${clean(t.label ?? '') || (t.kind === 'session' ? 'browser' : 'token')}</strong> <code class="small">${t.token}</code>${t.token === used && html` <span class="small quiet">in use here</span>`}
        <p class="small quiet">${[t.ended ? 'put away' : t.expired ? `ended ${moment(t.expires).slice(0, 16)}` : t.expires ? `until ${moment(t.expires).slice(0, 16)}` : 'without an end',
          t.namespace && `only in ${t.namespace}`, t.only && `only ${t.only.join(', ')}`, t.parent && `made with ${t.parent}`, t.lasting && 'outlasts the one it was made with'].filter(Boolean).join('; ')}</p></div>
      <${Control} may=${may} onClick=${() => ask(t)} aria-label=${`Revoke ${clean(t.label ?? '') || 'token'} ${t.token}`}>Revoke</${Control}></li>`)}</ul>`
      : html`<p class="quiet">None that opens anything.</p>`}
    ${over.length > 0 && html`<p><button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => setAll(!all)}>${all ? 'Only those that open something' : `${over.length} more that open nothing any more`}</button></p>`}
    ${asked && html`<${Revoke} token=${asked} name=${name} give=${give} here=${asked.token === used} done=${() => { ask(null); again(); }} close=${() => ask(null)} />`}
  </section>`;
}

/** @param {{token: any, name: string, give: any, here: boolean, done: () => void, close: () => void}} p */
function Revoke({token, name, give, here, done, close}) {
  const [stolen, set] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const act = () => del(`tokens/${part(token.token)}${stolen ? '?made=true' : ''}`).then(done, setError);
  return html`<${Dialog} title=${`Revoke ${clean(token.label ?? '') || 'the token'} ${token.token}?`} onClose=${close}>
    <p>Whoever has it is ${name} here no more. Tokens and browsers that were made with it end, too, and jobs that were submitted with any of them start nothing more.</p>
    ${here && html`<p class="note">It is the one that you use here: you are signed out.</p>`}
    <p><label><input type="checkbox" checked=${stolen} aria-disabled=${give?.may ? null : 'true'} onClick=${(/** @type {Event} */ e) => { if (!give?.may) e.preventDefault(); else set(!stolen); }} /> It was stolen: end the lasting ones that were made with it, too</label>
      ${give && !give.may && html`<span class="small quiet"> ${give.why}</span>`}</p>
    <${Trouble} error=${error} what="It was not revoked" />
    <p class="row"><button type="button" class="stop" onClick=${act}>Revoke it</button><button type="button" onClick=${close}>Keep it</button></p>
  </${Dialog}>`;
}

/** @param {{name: string, sees: boolean}} p */
function Jobs({name, sees}) {
  const {data, error} = useLoad(sees ? 'jobs' : null, {by: name, limit: 10});
  return html`<section class="card" aria-labelledby="jobs"><div class="row"><h2 id="jobs">Jobs</h2>${data?.next && html`<a class="small" href=${href('', {by: name})}>All of them</a>`}</div>
    <${Trouble} error=${error} what="Jobs are not shown" />
    ${!sees && html`<p class="quiet">You may see jobs nowhere.</p>`}
    ${data && (data.jobs.length ? html`<ul class="user-list">${data.jobs.map((/** @type {any} */ j) => html`<li key=${j.id} class="user-job"><${Mark} state=${j.state} />
      <a class="mono cut" href=${href(`jobs/${part(j.id)}`)}>${clean(j.command)}</a><span class="small quiet"><${When} at=${j.submitted} /></span></li>`)}</ul>` : html`<p class="quiet">None.</p>`)}
  </section>`;
}

/** @param {{name: string, may: any}} p */
function Did({name, may}) {
  const {data, error} = useLoad(may?.may ? 'audit/entries' : null, {who: name, limit: 10});
  return html`<section class="card" aria-labelledby="did"><div class="row"><h2 id="did">Last acts</h2>${data && html`<a class="small" href=${href('audit', {who: name})}>All of it</a>`}</div>
    <${Trouble} error=${error} what="What they did is not shown" />
    <${WhyNot} of=${[may]} />
    ${data && (data.entries.length ? html`<${Acts} entries=${data.entries} who=${false} />` : html`<p class="quiet">Nothing${data.next ? ' lately' : ''}.</p>`)}
  </section>`;
}
