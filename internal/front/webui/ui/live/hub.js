// The hub: a worker that all tabs of a browser share. It follows each topic once, however many pages look at it, and hands
// out what changes. What a topic is, its own file says; this one knows only who listens.
import {job} from './job.js';
import {jobs} from './jobs.js';
import {onStale} from '../lib/stale.js';

/**
 * A topic's making: opened for the first listener, closed after the last.
 * @typedef {{picture: () => any, close: () => void}} Topic
 * @typedef {{emit: (message: any) => void, connection: (c: any) => void, signedOut: () => void}} Out
 * @typedef {(params: any, out: Out) => Topic} Open
 */
/** @type {Record<string, Open>} */
const kinds = {job, jobs};

/** @type {Map<string, {topic: Topic, connection: any, ears: Map<Line, Set<number>>}>} */
const open = new Map();
/** @typedef {{post: (m: any) => void, heard: number, ears: Map<number, string>}} Line */
/** @type {Set<Line>} */
const lines = new Set();
const silence = 200000; // ms: a hidden page beats once a minute

/** @param {string} key @param {any} message */
function send(key, message) {
  for (const [line, tos] of open.get(key)?.ears ?? []) for (const to of tos) line.post({to, message});
}

/** @param {Line} line @param {number} to @param {string} kind @param {any} params */
function listen(line, to, kind, params) {
  const key = JSON.stringify([kind, params]);
  let it = open.get(key);
  if (!it) {
    it = {topic: /** @type {any} */ (null), connection: {connection: 'connecting'}, ears: new Map()};
    open.set(key, it);
    const at = it;
    it.topic = kinds[kind](params, {
      emit: (m) => send(key, m),
      connection: (c) => { at.connection = c; send(key, c); },
      signedOut: () => { for (const l of at.ears.keys()) l.post({signedOut: true}); },
    });
  }
  line.ears.set(to, key);
  it.ears.set(line, (it.ears.get(line) ?? new Set()).add(to));
  line.post({to, message: it.connection});
  const picture = it.topic.picture();
  if (picture !== undefined) line.post({to, message: picture});
}

/** @param {Line} line @param {number} to */
function leave(line, to) {
  const key = line.ears.get(to) ?? '';
  const it = open.get(key);
  line.ears.delete(to);
  const tos = it?.ears.get(line);
  tos?.delete(to);
  if (!it || tos?.size) return;
  it.ears.delete(line);
  if (it.ears.size) return;
  open.delete(key);
  it.topic.close();
}

/** @param {Line} line */
function gone(line) {
  for (const to of [...line.ears.keys()]) leave(line, to);
  lines.delete(line);
}

/** @param {Line} line @param {any} m */
function hear(line, m) {
  line.heard = Date.now();
  if (m.open) listen(line, m.open.to, m.open.topic, m.open.params);
  if (m.close) leave(line, m.close.to);
  if (m.bye) gone(line);
}

/** @param {(m: any) => void} post @returns {Line} */
function join(post) {
  const line = {post, heard: Date.now(), ears: new Map()};
  lines.add(line);
  return line;
}

onStale.add((since) => { for (const l of lines) l.post({stale: since}); });

const scope = /** @type {any} */ (globalThis);
if ('onconnect' in scope) {
  scope.onconnect = (/** @type {MessageEvent} */ e) => {
    const port = e.ports[0];
    const line = join((m) => port.postMessage(m));
    port.onmessage = (x) => hear(line, x.data);
  };
} else {
  const line = join((m) => scope.postMessage(m));
  scope.onmessage = (/** @type {MessageEvent} */ x) => hear(line, x.data);
}
// What goes wrong in here is told to the pages, where a person can see it.
for (const kind of ['error', 'unhandledrejection']) {
  scope.addEventListener(kind, (/** @type {any} */ e) => {
    for (const l of lines) l.post({fault: String(e.reason?.stack ?? e.reason ?? e.error?.stack ?? e.message)});
  });
}
setInterval(() => { for (const l of [...lines]) if (Date.now() - l.heard > silence) gone(l); }, 60000);
