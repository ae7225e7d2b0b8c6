// A job as it goes on. (Its page is not there yet: it says the summary.)
import {apiRoot} from '../lib/place.js';

/** @type {import('./hub.js').Open} */
export function job({id}, out) {
  /** @type {any} */
  let now;
  const look = async () => {
    const answer = await fetch(new URL(`jobs/${encodeURIComponent(id)}`, apiRoot), {credentials: 'same-origin'}).catch(() => null);
    if (answer?.status === 401) { out.signedOut(); return; }
    out.connection({connection: answer ? 'live' : 'lost', since: Date.now()});
    if (answer?.ok) { now = await answer.json(); out.emit({job: now}); }
  };
  void look();
  const again = setInterval(look, 2000);
  return {picture: () => now && {job: now}, close: () => clearInterval(again)};
}
