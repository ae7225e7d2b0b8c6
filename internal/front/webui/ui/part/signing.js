// How one signs in: with a token, or with OpenID where the server asks a provider.
import {html, useState, useRef, useId} from '../vendor/preact.js';
import {apiRoot} from '../lib/place.js';
import {useLoad} from '../lib/load.js';
import {signIn} from '../lib/session.js';
import {Trouble} from './trouble.js';

/** What the server says in a word when a login with OpenID did not end here. @type {Record<string, string>} */
const wrongs = {
  late: 'That sign-in was not begun in this browser, or it took more than ten minutes. Begin it again.',
  refused: 'The provider lets you not in, or what it said does not hold. Begin again, or sign in with a token.',
  provider: 'The OpenID provider cannot be reached. Try again in a moment, or sign in with a token.',
  server: 'The server could not sign you in; its log has the reason. Try again in a moment.',
};

/** @param {{wrong: string, name: string}} p */
function Wrong({wrong, name}) {
  if (!wrong) return null;
  return html`<div class="trouble" role="alert">${wrong === 'unknown'
    ? html`<p>The provider says that you are <strong>${name || 'somebody whose name this server cannot take'}</strong>, and nobody is known here by that name.</p>
      ${name && html`<p class="small">Next: ask an administrator for <code>sluice access add ${name}</code></p>`}`
    : html`<p>${wrongs[wrong] ?? wrongs.refused}</p>`}</div>`;
}

/** @param {{back: string, wrong?: string, name?: string, done: () => void}} p back: the place that one wants to see, below the UI */
export function Signing({back, wrong = '', name = '', done}) {
  const ways = useLoad('session/ways');
  const [error, set] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLInputElement|null} */ (null));
  const id = useId();
  const submit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const token = field.current?.value.trim() ?? '';
    if (busy) return;
    if (!token) { set({message: 'There is no token in the field.'}); field.current?.focus(); return; }
    setBusy(true);
    set(null);
    try {
      await signIn(token);
      done();
    } catch (x) {
      const p = /** @type {any} */ (x);
      set(p.status === 401 ? {message: 'This token is not valid, or not any more.', hint: 'sluice access token make, where you are signed in, or ask an administrator'} : p);
      setBusy(false);
      field.current?.select();
    }
  };
  const openID = new URL('session/oidc', apiRoot);
  if (back) openID.searchParams.set('back', back);
  return html`<div class="signing">
    <${Wrong} wrong=${wrong} name=${name} />
    ${ways.data?.openid && html`<p><a class="button main" href=${openID.pathname + openID.search}>Sign in with OpenID</a></p><p class="signing-or small quiet">or with a token</p>`}
    <form onSubmit=${submit} class="stack">
      <div class="stack signing-field"><label for=${id}>Token</label>
        <input ref=${field} id=${id} type="password" autocomplete="off" spellcheck="false" autocapitalize="off" aria-describedby=${id + 'is'} aria-invalid=${error ? 'true' : null} autofocus /></div>
      <p id=${id + 'is'} class="small quiet">It begins with <code>sluice_</code>. <code>sluice access token make</code> makes one; that of the first administrator was shown when the server first started.</p>
      <${Trouble} error=${error} />
      <p><button type="submit" class=${ways.data?.openid ? '' : 'main'} aria-disabled=${busy ? 'true' : null}>${busy ? 'Signing in' : 'Sign in'}</button></p>
    </form>
    ${ways.data?.lacks && html`<p class="small quiet">OpenID is for the command line alone here: ${ways.data.lacks}.</p>`}
  </div>`;
}
