// A window of an output: lines of the bytes around a place, never more than some hundred kB, however long the output or one
// of its lines is.
import {ask, get} from './api.js';
import {part} from './place.js';

export const windowBytes = 64 << 10;
export const windowLines = 1000;

/**
 * @typedef {{from: number, to: number, bytes: Uint8Array, number: number, begun: boolean, open: boolean}} Line
 * from, to: bytes of the output; number: from 1, 0 where it is not known; begun: what is before it on the line is not here;
 * open: it goes on behind
 * @typedef {{from: number, to: number, size: number, lines: Line[]}} Window
 * @typedef {{every: number, before: number[], size: number, lines: number}} Index
 */

/** @param {string} job @param {string} host @param {string} stream */
export const outputPath = (job, host, stream) => `jobs/${part(job)}/hosts/${part(host)}/${stream}`;

/** Bytes of a range. @param {string} path @param {any} query @param {number} from @param {number} to @param {AbortSignal} [signal] */
async function range(path, query, from, to, signal) {
  const answer = await ask('GET', path, {query: {...query, offset: from, limit: to - from}, signal});
  return {bytes: new Uint8Array(await answer.arrayBuffer()), size: Number(answer.headers.get('Sluice-Size'))};
}

/** @param {Uint8Array} b @param {number} [from] @param {number} [to] */
function ends(b, from = 0, to = b.length) {
  let n = 0;
  for (let i = b.indexOf(10, from); i >= 0 && i < to; i = b.indexOf(10, i + 1)) n++;
  return n;
}

/**
 * Cuts bytes into lines. @param {Uint8Array} b @param {number} from @param {number} number of the first @param {boolean} begun
 * @returns {Line[]}
 */
export function cut(b, from, number, begun) {
  const out = [];
  for (let at = 0; at < b.length;) {
    const end = b.indexOf(10, at);
    const to = end < 0 ? b.length : end;
    out.push({from: from + at, to: from + to, bytes: b.subarray(at, to), number: number && number + out.length, begun: begun && !at, open: end < 0});
    at = to + 1;
  }
  return out;
}

/**
 * The window that begins at a place, or (back) ends there.
 * @param {string} path @param {any} query which attempt @param {number} at @param {boolean} back @param {Index|null} index @param {AbortSignal} [signal]
 * @returns {Promise<Window>}
 */
export async function load(path, query, at, back, index, signal) {
  const begin = back ? Math.max(0, at - windowBytes) : at;
  const every = index?.every || 0;
  const before = index?.before ?? [0];
  const place = every ? Math.min(Math.floor(begin / every), before.length - 1) * every : Math.max(0, begin - 1);
  const got = await range(path, query, place, back ? Math.max(at, place + 1) : begin + windowBytes, signal);
  let from = begin, skip = begin - place;
  let begun = begin > 0 && (skip === 0 || got.bytes[skip - 1] !== 10);
  if (back && begun) { // begin with a whole line, where there is one
    const end = got.bytes.indexOf(10, skip);
    if (end >= 0 && end < got.bytes.length - 1) { skip = end + 1; from = place + skip; begun = false; }
  }
  const number = index || begin === 0 ? (every ? before[place / every] : 0) + ends(got.bytes, 0, skip) + 1 : 0;
  let lines = cut(got.bytes.subarray(skip), from, number, begun);
  if (back) lines = lines.slice(-windowLines);
  else lines = lines.slice(0, windowLines);
  const last = lines[lines.length - 1];
  const to = last ? last.to + (last.open ? 0 : 1) : from;
  return {from: lines[0]?.from ?? from, to, size: got.size, lines};
}

/** Where the lines are. @param {string} path @param {any} query @param {AbortSignal} [signal] @returns {Promise<Index>} */
export const indexOf = (path, query, signal) => get(path + '/lines', query, signal);

/** Adds what came to a window, and lets go of its beginning. @param {Window} w @param {Uint8Array} b @returns {Window} */
export function grow(w, b) {
  const last = w.lines[w.lines.length - 1];
  let lines = w.lines, add = b, from = w.to, number = last ? last.number && last.number + 1 : 1, begun = false;
  if (last?.open) { // its rest
    const rest = last.bytes.length > windowBytes ? last.bytes.subarray(-windowBytes / 2) : last.bytes;
    add = new Uint8Array(rest.length + b.length);
    add.set(rest);
    add.set(b, rest.length);
    from = w.to - rest.length;
    number = last.number;
    begun = last.begun || rest !== last.bytes;
    lines = lines.slice(0, -1);
  }
  lines = [...lines, ...cut(add, from, number, begun)].slice(-windowLines);
  let bytes = 0, first = lines.length - 1;
  for (; first > 0 && (bytes += lines[first].bytes.length) < windowBytes; first--);
  lines = lines.slice(Math.max(0, first));
  const to = w.to + b.length;
  return {from: lines[0]?.from ?? to, to, size: Math.max(w.size, to), lines};
}
