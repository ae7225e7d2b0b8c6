// A stream of server-sent events that mends itself: after a cut it goes on from the last event that came, without a gap
// and without one twice.
import {apiRoot} from '../lib/place.js';
import {onSignedIn} from '../lib/signed.js';
import {hearStale} from '../lib/stale.js';

/**
 * @typedef {object} Wants
 * @property {() => string} path below /api/v1/, asked anew at each connection
 * @property {() => string} [last] id of the last event that counts; sent as Last-Event-ID
 * @property {(events: {id: string, event: string, data: string}[], size: number) => void} hear what came, in pieces as they come
 * @property {(c: {connection: string, since?: number, why?: string}) => void} connection
 * @property {() => void} signedOut
 * @property {(status: number) => boolean} [refused] an answer that is no stream; true: do not try again
 * @property {() => boolean} [over] asked when the stream ends in order; true: there is no more to come
 */

/** Follows a stream until it is closed. @param {Wants} w */
export function stream(w) {
  const stop = new AbortController();
  let tries = 0, lostSince = 0, out = false;
  const lost = (/** @type {string} */ why) => {
    lostSince ||= Date.now();
    w.connection({connection: 'lost', since: lostSince, why});
  };
  const once = async () => {
    const headers = new Headers({Accept: 'text/event-stream'});
    const from = w.last?.();
    if (from) headers.set('Last-Event-ID', from);
    const answer = await fetch(new URL(w.path(), apiRoot), {headers, signal: stop.signal, credentials: 'same-origin', cache: 'no-store', redirect: 'error'});
    hearStale(answer);
    out = answer.status === 401;
    if (out) { w.signedOut(); throw new Error('you are not signed in any more'); }
    if (!answer.ok || !answer.body) {
      if (w.refused?.(answer.status)) return true;
      throw new Error(answer.status === 503 ? 'the server takes no requests now' : `the server answered ${answer.status}`);
    }
    tries = lostSince = 0;
    w.connection({connection: 'live'});
    const parse = parser();
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return w.over?.() ?? false;
      const events = parse(decoder.decode(value, {stream: true}));
      if (events.length || value.length) w.hear(events, value.length);
    }
  };
  const run = async () => {
    while (!stop.signal.aborted) {
      try {
        if (await once()) return;
        lost('the connection ended');
      } catch (e) {
        if (stop.signal.aborted) return;
        lost(e instanceof TypeError ? 'the server cannot be reached' : String(/** @type {Error} */ (e).message));
      }
      // Who is signed out comes again at once when somebody signs in, and else seldom: the server counts bad sign-ins.
      const wait = (out ? 60000 : Math.min(10000, 250 * 2 ** Math.min(tries++, 6))) * (0.5 + Math.random());
      await new Promise((/** @type {(v?: any) => void} */ r) => {
        const wake = () => { clearTimeout(t); onSignedIn.delete(wake); r(); };
        const t = setTimeout(wake, wait);
        if (out) onSignedIn.add(wake);
        stop.signal.addEventListener('abort', wake, {once: true});
      });
    }
  };
  void run();
  return {close: () => stop.abort()};
}

/** Makes whole events of pieces of text. */
export function parser() {
  let rest = '';
  /** @param {string} text */
  return (text) => {
    rest += text;
    const events = [];
    for (let end; (end = rest.indexOf('\n\n')) >= 0; rest = rest.slice(end + 2)) {
      const event = {id: '', event: 'message', data: ''};
      let any = false;
      for (const line of rest.slice(0, end).split('\n')) {
        const colon = line.indexOf(':');
        if (colon < 1) continue; // a comment keeps the line open
        const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
        switch (line.slice(0, colon)) {
          case 'id': event.id = value; break;
          case 'event': event.event = value; any = true; break;
          case 'data': event.data += (any && event.data ? '\n' : '') + value; any = true; break;
        }
      }
      if (any) events.push(event);
    }
    return events;
  };
}
