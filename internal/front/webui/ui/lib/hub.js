// The page's end of the hub: topics are followed in a worker that all tabs share, so that two tabs cost one connection,
// and nothing is parsed where a person scrolls. Where browsers have no shared workers, each page has its own.
import {useState, useEffect, useRef} from '../vendor/preact.js';
import {files} from './place.js';
import {onSignedOut} from './api.js';
import {setStale} from './stale.js';

// Trusted Types: this is the only script address that the UI ever makes.
const url = new URL('live/hub.js', files).href;
// @ts-ignore: not every browser has it
const policy = globalThis.trustedTypes?.createPolicy('sluice', {createScriptURL: (/** @type {string} */ s) => { if (s !== url) throw new TypeError('no such script'); return s; }});
const script = policy ? policy.createScriptURL(url) : url;

/** @type {MessagePort|Worker|undefined} */
let line;
let last = 0;
/** @type {Map<number, {topic: string, params: any, hear: (m: any) => void}>} */
const open = new Map();

function connect() {
  if (line) return line;
  /** @param {MessageEvent} e */
  const hear = (e) => {
    if (e.data.fault) console.error('hub:', e.data.fault);
    else if (e.data.stale !== undefined) setStale(e.data.stale);
    else if (e.data.signedOut) for (const f of onSignedOut) f();
    else open.get(e.data.to)?.hear(e.data.message);
  };
  if (globalThis.SharedWorker) {
    const w = new SharedWorker(/** @type {any} */ (script), {type: 'module', name: 'sluice'});
    line = w.port;
    w.port.onmessage = hear;
  } else {
    const w = new Worker(/** @type {any} */ (script), {type: 'module'});
    line = w;
    w.onmessage = hear;
  }
  const beat = setInterval(() => line?.postMessage({beat: true}), 15000);
  addEventListener('pagehide', () => { line?.postMessage({bye: true}); clearInterval(beat); line = undefined; }, {once: true});
  addEventListener('pageshow', (e) => { // back from the browser's own store of pages
    if (!e.persisted || line) return;
    const port = connect();
    for (const [to, {topic, params}] of open) port.postMessage({open: {to, topic, params}});
  }, {once: true});
  return line;
}

/**
 * Follows a topic. hear gets messages as the topic makes them (see live/), the first a whole picture, and
 * {connection: 'live'|'lost', since, why} about the line to the server. Returns how to stop.
 * @param {string} topic @param {any} params @param {(m: any) => void} hear
 */
export function subscribe(topic, params, hear) {
  const to = ++last;
  open.set(to, {topic, params, hear});
  connect().postMessage({open: {to, topic, params}});
  return () => {
    open.delete(to);
    line?.postMessage({close: {to}});
  };
}

/**
 * Follows a topic as a component. fold makes the next state of the last and a message; a new object draws anew.
 * @template S
 * @param {string} topic @param {any} params null: not now
 * @param {(state: S|undefined, message: any) => S} fold
 * @returns {{state: S|undefined, connection: {connection: string, since?: number, why?: string}}}
 */
export function useTopic(topic, params, fold) {
  const [got, set] = useState(/** @type {any} */ ({state: undefined, connection: {connection: 'connecting'}}));
  const folding = useRef(fold);
  folding.current = fold;
  const key = JSON.stringify(params);
  useEffect(() => {
    set({state: undefined, connection: {connection: 'connecting'}});
    if (params === null) return undefined;
    return subscribe(topic, params, (m) => set((/** @type {any} */ was) =>
      m.connection ? {...was, connection: m} : {...was, state: folding.current(was.state, m)}));
  }, [topic, key]);
  return got;
}
