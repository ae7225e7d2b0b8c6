// Numbers, times and states as people read them: the same words as the command line's.

/** One word a state or outcome. */
export const word = {
  waiting: 'waiting', running: 'running', paused: 'paused', halting: 'halting', halted: 'halted',
  succeeded: 'succeeded', failed: 'failed', unreachable: 'unreachable', timed_out: 'timed out', unknown: 'unknown',
  cancelled: 'cancelled', skipped: 'skipped', cancelling: 'cancelling',
};

/** Order in which outcomes are shown: what needs a person first. */
export const outcomes = ['failed', 'timed_out', 'unreachable', 'unknown', 'running', 'waiting', 'succeeded', 'skipped', 'cancelled'];

const digits = new Intl.NumberFormat('en');
/** @param {number} n */
export const number = (n) => digits.format(n);

/** "1 host", "12,000 hosts". @param {number} n @param {string} one @param {string} [many] */
export const count = (n, one, many) => `${number(n)} ${n === 1 ? one : many ?? one + 's'}`;

/** A length of time in at most two units: "3m 20s". @param {number} ms */
export function lasting(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor(s / 60) % 60}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s / 3600) % 24}h`;
}

/** "3m ago"; the day where it is long ago. @param {number|string} at @param {number} now */
export function since(at, now) {
  const t = new Date(at).getTime();
  const d = now - t;
  if (d < 1500) return 'just now';
  if (d < 86400000 * 2) return lasting(d).split(' ')[0] + ' ago';
  return moment(t).slice(0, 10);
}

/** A moment in full, in the reader's time: 2026-11-28 14:03:22. @param {number|string} at */
export function moment(at) {
  const d = new Date(at);
  /** @param {number} n */
  const two = (n) => String(n).padStart(2, '0');
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** @param {number} n */
export function bytes(n) {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (n < 1000 || unit === 'GB') return `${n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1000;
  }
  return '';
}

/** A length of time as the API writes it, without what is nothing: "10m" for "10m0s". @param {string} text */
export const short = (text) => text.replace(/([hm])0s$/, '$1').replace(/h0m$/, 'h');
