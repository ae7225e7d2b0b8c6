// The list of jobs as it changes. (It asks again and again; a feed is to come.)
import {apiRoot} from '../lib/place.js';

/** @type {import('./hub.js').Open} */
export function jobs(query, out) {
  /** @type {any} */
  let now;
  const look = async () => {
    const answer = await fetch(new URL(`jobs?${new URLSearchParams(query)}`, apiRoot), {credentials: 'same-origin'}).catch(() => null);
    if (answer?.status === 401) { out.signedOut(); return; }
    out.connection({connection: answer ? 'live' : 'lost', since: Date.now()});
    if (answer?.ok) { now = await answer.json(); out.emit({page: now}); }
  };
  void look();
  const again = setInterval(look, 2000);
  return {picture: () => now && {page: now}, close: () => clearInterval(again)};
}
