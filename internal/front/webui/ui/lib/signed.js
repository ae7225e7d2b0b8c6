// Who signs in or out in one tab does so in all of them, and in the hub: they share the cookie.
import {pages} from './place.js';

const channel = globalThis.BroadcastChannel ? new BroadcastChannel(`sluice ${pages.pathname}`) : null;

/** Told when somebody signed in, here or in another tab. @type {Set<() => void>} */
export const onSignedIn = new Set();
/** Told when the person signed out, in another tab. @type {Set<() => void>} */
export const onLeft = new Set();

if (channel) channel.onmessage = (e) => { for (const f of [...(e.data === 'in' ? onSignedIn : onLeft)]) f(); };

export function tellSignedIn() {
  channel?.postMessage('in');
  for (const f of [...onSignedIn]) f();
}

export function tellLeft() { channel?.postMessage('out'); }
