// Since when the server has had no contact with the others of its cluster, as its last answer said: pages and the hub alike hear it here.

let now = '';

/** Told when that changes: a moment, or '' where answers are what holds. @type {Set<(since: string) => void>} */
export const onStale = new Set();

export const staleSince = () => now;

/** @param {string} since */
export function setStale(since) {
  if (since === now) return;
  now = since;
  for (const f of [...onStale]) f(since);
}

/** Hears what an answer to a question says. @param {Response} answer */
export const hearStale = (answer) => { if (answer.ok) setStale(answer.headers.get('Sluice-Stale') ?? ''); };
