// Says that what is shown may be old, where the line to the server is lost. It mends itself.
import {html} from '../vendor/preact.js';
import {useNow} from './when.js';
import {lasting} from '../lib/words.js';

/** @param {{connection: {connection: string, since?: number, why?: string}}} p */
export function Connection({connection: c}) {
  const now = useNow();
  return html`<div role="status" class="connection" data-connection=${c.connection}>
    ${c.connection === 'lost' && html`<p class="note">No connection for ${lasting(now - (c.since ?? now))}: ${c.why ?? 'the server cannot be reached'}. What you see is from before; it mends by itself.</p>`}
  </div>`;
}
