// What a list of jobs is made of.

/** @typedef {{id: string, namespace: string, by: string, command: string, state: string, submitted: string, started?: string, ended?: string,
 *   targets: number, running: number, unsettled: number, failures: number, counts: Record<string, number>, halting?: boolean, cancelling?: boolean,
 *   why?: string, needs?: string, gates?: any[], halted?: any}} Job */

/** The state as people are told it. @param {Job} j */
export const standing = (j) => j.cancelling && !over(j) ? 'cancelling' : j.halting ? 'halting' : j.state;

/** Whether nothing of it goes on by itself any more. @param {Job} j */
export const over = (j) => ['succeeded', 'failed', 'cancelled'].includes(j.state);

/** Hosts by what they do or did, those that wait and run with them. @param {Job} j @returns {Record<string, number>} */
export function tally(j) {
  const running = j.running, waiting = over(j) ? 0 : Math.max(0, j.unsettled - j.running);
  return {...j.counts, running, waiting};
}

/** Since when it is as it is. @param {Job} j */
export const since = (j) => j.ended ?? j.started ?? j.submitted;

/** Newest first. @param {Job} a @param {Job} b */
const newest = (a, b) => a.submitted < b.submitted ? 1 : a.submitted > b.submitted ? -1 : a.id < b.id ? 1 : -1;

/** How many jobs that are over a list keeps: a page that stays open for weeks does not grow. */
const keptOver = 200;

/**
 * The next picture of a list. @param {{all: Map<string, Job>, list: Job[], next: string, refused?: number, unreadable?: string[]}|undefined} was @param {any} m
 */
export function fold(was, m) {
  if (m.refused) return {all: new Map(), list: [], next: '', refused: m.refused};
  const all = m.page ? new Map(m.page.map((/** @type {Job} */ j) => [j.id, j])) : new Map(was?.all);
  for (const j of m.jobs ?? []) all.set(j.id, j);
  for (const id of m.gone ?? []) all.delete(id);
  const list = [...all.values()].sort(newest);
  let n = 0;
  const kept = list.filter((j) => !over(j) || ++n <= keptOver);
  if (kept.length < list.length) for (const j of list.filter(over).slice(keptOver)) all.delete(j.id);
  return {all, list: kept, next: m.next ?? was?.next ?? '', unreadable: m.unreadable ?? was?.unreadable};
}
