// Hosts in a sentence: a few by name, the rest when they are asked for.
import {html, useState} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {number} from '../lib/words.js';

/** @param {{hosts: string[], most?: number}} p */
export function Wide({hosts, most = 12}) {
  const [all, set] = useState(false);
  const more = hosts.length - most;
  return html`<span class="mono">${(all || more <= 0 ? hosts : hosts.slice(0, most)).map(clean).join(', ')}</span>${more > 0 && html` <button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => set(!all)}>${all ? 'Fewer' : `and ${number(more)} more`}</button>`}`;
}
