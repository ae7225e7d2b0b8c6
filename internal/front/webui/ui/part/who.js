// Who one is, in the header: rights, tokens, and the way out.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {usePlace} from '../lib/router.js';
import {signOut} from '../lib/session.js';
import {moment} from '../lib/words.js';
import {Trouble} from './trouble.js';

/** @param {{me: any}} p */
export function Who({me}) {
  const [open, set] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const at = useRef(/** @type {HTMLElement|null} */ (null));
  const button = useRef(/** @type {HTMLButtonElement|null} */ (null));
  const id = useId();
  const place = usePlace();
  useEffect(() => set(false), [place.path]);
  useEffect(() => {
    if (!open) return undefined;
    const away = (/** @type {Event} */ e) => { if (!at.current?.contains(/** @type {Node} */ (e.target))) set(false); };
    addEventListener('pointerdown', away);
    addEventListener('focusin', away);
    return () => { removeEventListener('pointerdown', away); removeEventListener('focusin', away); };
  }, [open]);
  const key = (/** @type {KeyboardEvent} */ e) => { if (e.key === 'Escape' && open) { set(false); button.current?.focus(); } };
  const out = () => { setError(null); signOut().catch(setError); };
  return html`<div class="who" ref=${at} onKeyDown=${key}>
    <button ref=${button} type="button" aria-expanded=${open ? 'true' : 'false'} aria-controls=${id} onClick=${() => set(!open)}><span class="unseen">You are </span><span class="cut">${me.principal}</span><span aria-hidden="true" class="who-more">▾</span></button>
    <div id=${id} class="who-panel card" hidden=${!open}>
      <p>You are <strong>${me.principal}</strong>.</p>
      <p class="small quiet">${me.browser ? `Signed in in this browser until ${moment(me.until).slice(0, 16)} at the latest, and as long as you come back within the hour.`
        : 'You did not sign in here: your connection says who you are.'}</p>
      <p><a href=${href(`users/${part(me.principal)}`)}>Your rights, tokens and jobs</a></p>
      ${me.browser && html`<p><button type="button" onClick=${out}>Sign out</button></p>`}
      <${Trouble} error=${error} what="You are still signed in" />
    </div>
  </div>`;
}
