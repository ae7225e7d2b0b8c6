// The session ended while a page was open. The page stays, with all that was typed, until one is signed in again.
import {html, useState} from '../vendor/preact.js';
import {pages} from '../lib/place.js';
import {Dialog} from './dialog.js';
import {Signing} from './signing.js';

export function Lapsed() {
  const [asked, ask] = useState(true);
  return html`<div class="lapsed note row" role="status"><span>You are not signed in any more. What you see is from before.</span>
      <button type="button" onClick=${() => ask(true)}>Sign in</button></div>
    ${asked && html`<${Dialog} title="Sign in again" onClose=${() => ask(false)}>
      <p>You are not signed in any more: the session ended, or somebody ended it. Sign in, and you go on where you were.</p>
      <${Signing} back=${location.href.slice(pages.href.length)} done=${() => {}} />
      <p><button type="button" class="plain" onClick=${() => ask(false)}>Not now</button></p>
    </${Dialog}>`}`;
}
