// What an attempt printed: a window of it, with search, and live while it runs. However long it is, the page holds little.
import {html, useState, useEffect, useRef, useMemo} from '../vendor/preact.js';
import {ask, get, Problem} from '../lib/api.js';
import {href, apiRoot} from '../lib/place.js';
import {path as place, useQuery} from '../lib/router.js';
import {spans, decode, plain} from '../lib/ansi.js';
import {load, grow, indexOf, outputPath, windowBytes} from '../lib/lines.js';
import {bytes as size, count, number} from '../lib/words.js';
import {Trouble} from './trouble.js';

const mostShown = 2000; // bytes of one line, until more is asked for

/**
 * @param {{job: string, host: string, attempt: number, stream: string, running: boolean}} p
 * Where one is stands in the address: at, find.
 */
export function Output({job, host, attempt, stream, running}) {
  const [query, change] = useQuery();
  const at = query.get('at'), find = query.get('find') ?? '';
  const path = outputPath(job, host, stream);
  const [wrap, setWrap] = useState(true);
  const [follow, setFollow] = useState(running && at === null);
  const [shown, show] = useState(/** @type {import('../lib/lines.js').Window|null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [n, again] = useState(0);
  const index = useRef(/** @type {import('../lib/lines.js').Index|null} */ (null));
  const view = useRef(/** @type {HTMLElement|null} */ (null));
  const live = follow && running;
  const toEnd = at === 'end' || at === null && follow;

  // The window at a place, or at the end; and then what is printed.
  useEffect(() => {
    const stop = new AbortController();
    let soon = 0;
    const tell = (/** @type {any} */ e) => {
      if (stop.signal.aborted) return;
      const lost = !(e instanceof Problem) || e.status === 0; // the line was cut: it mends by itself
      setError(lost ? new Problem({status: 0, detail: 'the server cannot be reached', hint: 'the page tries again by itself'}) : e);
      if (lost) soon = setTimeout(() => again((/** @type {number} */ k) => k + 1), 2000);
    };
    const begin = async () => {
      let w = await load(path, {attempt}, 0, false, null, stop.signal);
      if (w.size > windowBytes || Number(at) > 0) index.current = await indexOf(path, {attempt}, stop.signal);
      if (toEnd) w = await load(path, {attempt}, w.size, true, index.current, stop.signal);
      else if (Number(at) > 0) w = await load(path, {attempt}, Math.min(Number(at), w.size), false, index.current, stop.signal);
      if (stop.signal.aborted) return;
      setError(null);
      show(w);
      if (live) await tail(path, attempt, w, (next) => { if (!stop.signal.aborted) show(next); }, stop.signal);
    };
    begin().catch(tell);
    return () => { stop.abort(); clearTimeout(soon); };
  }, [path, attempt, at, live, toEnd, n]);

  useEffect(() => { if (view.current) view.current.scrollTop = toEnd ? view.current.scrollHeight : 0; }, [live ? shown : shown?.from, toEnd]);

  const earlier = async () => {
    if (!shown) return;
    index.current ??= await indexOf(path, {attempt});
    const w = await load(path, {attempt}, shown.from, true, index.current);
    change({at: String(w.from)});
  };
  const lines = useMemo(() => drawn(shown), [shown]);
  const target = Number(query.get('hit') ?? -1);
  const all = shown?.size ?? 0;
  const first = lines[0]?.number, last = lines[lines.length - 1]?.number;
  const download = new URL(`${path}?attempt=${attempt}`, apiRoot).href;
  return html`<div class="output">
    <div class="output-bar">
      <a class="button" href=${download} download=${`${host}.${attempt}.${stream}`}>Download</a>
      <label><input type="checkbox" checked=${wrap} onChange=${(/** @type {any} */ e) => setWrap(e.target.checked)} /> Wrap lines</label>
      ${running && html`<label><input type="checkbox" checked=${follow} onChange=${(/** @type {any} */ e) => { setFollow(e.target.checked); if (e.target.checked) change({at: null, hit: null}); }} /> Follow</label>`}
      <form role="search" aria-label=${`Search in ${stream}`} onSubmit=${(/** @type {any} */ e) => { e.preventDefault(); change({find: new FormData(e.target).get('find')?.toString() || null}); }}>
        <input type="search" name="find" aria-label=${`Find in ${stream}`} placeholder="Find" value=${find} maxlength="200" /><button>Find</button>
      </form>
    </div>
    ${find && html`<${Places} path=${path} attempt=${attempt} text=${find} key=${path + attempt + find + (running ? '' : 'over')} change=${change} close=${() => change({find: null, hit: null})} />`}
    <${Trouble} error=${error} what="The output is not shown" />
    ${error && html`<p><button type="button" onClick=${() => again(n + 1)}>Try again</button></p>`}
    ${shown && (all || live ? html`
      <div class=${'output-view' + (wrap ? ' output-wrap' : '')} ref=${view} tabindex="0" role="region" aria-label=${`${stream} of ${host}`}>
        ${lines.map((l) => html`<${LineOf} key=${l.from} line=${l} hit=${target >= l.from && target <= l.to} />`)}
      </div>
      <div class="output-where small">
        ${(shown.from > 0 || shown.to < all) && html`<button type="button" disabled=${shown.from === 0} onClick=${() => { setFollow(false); change({at: null, hit: null}); }}>Start</button>
        <button type="button" disabled=${shown.from === 0} onClick=${() => { setFollow(false); earlier().catch(setError); }}>Earlier</button>
        <button type="button" disabled=${shown.to >= all} onClick=${() => { setFollow(false); change({at: String(shown.to), hit: null}); }}>Later</button>
        <button type="button" disabled=${shown.to >= all} onClick=${() => change({at: 'end', hit: null})}>End</button>`}
        <span class="quiet num">${first && last ? (first === last ? `line ${number(first)}` : `lines ${number(first)} to ${number(last)}`) : ''}${index.current && !live ? ` of ${number(index.current.lines)}` : ''}, ${size(all)}${all > shown.to - shown.from ? `, here ${size(shown.to - shown.from)} from ${number(shown.from)} on` : ''}</span>
        ${live && html`<span class="quiet" role="status">Live</span>`}
      </div>` : html`<p class="quiet">It printed nothing to ${stream}.</p>`)}
  </div>`;
}

/** Lines as spans; colours go on over their ends. @param {import('../lib/lines.js').Window|null} w */
function drawn(w) {
  let style = plain;
  return (w?.lines ?? []).map((l) => {
    const got = spans(decode(l.bytes.subarray(0, mostShown)), style);
    style = got.style;
    return {...l, spans: got.spans, style, more: Math.max(0, l.bytes.length - mostShown)};
  });
}

/** @param {{line: any, hit: boolean}} p */
function LineOf({line, hit}) {
  const [more, show] = useState(false);
  const at = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => { if (hit) at.current?.scrollIntoView({block: 'center'}); }, [hit]);
  const rest = more ? spans(decode(line.bytes.subarray(mostShown)), line.style).spans : [];
  return html`<div class=${'output-line' + (hit ? ' output-hit' : '')} ref=${at}>
    <span class="output-number" aria-hidden="true">${line.begun ? '…' : line.number || ''}</span>
    <span class="output-text">${[...line.spans, ...rest].map((s) => s.look || s.sign ? html`<span class=${(s.sign ? 'output-sign ' : '') + s.look}>${s.text}</span>` : s.text)}${line.more > 0 && !more && html` <button type="button" class="plain" onClick=${() => show(true)}>${number(line.more)} bytes more</button>`}</span>
  </div>`;
}

/** Goes on with what is printed, until there is no more. @param {string} path @param {number} attempt @param {any} w @param {(w: any) => void} show @param {AbortSignal} signal */
async function tail(path, attempt, w, show, signal) {
  let waits = false;
  const later = () => { if (waits) return; waits = true; setTimeout(() => { waits = false; show(w); }, 100); };
  while (!signal.aborted) {
    const answer = await ask('GET', path, {query: {attempt, offset: w.to, follow: true}, signal});
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    const began = Date.now();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      for (let i = 0; i < value.length; i += windowBytes) w = grow(w, value.slice(i, i + windowBytes));
      later();
    }
    // It ended at once: the attempt is over, and the page will hear of it.
    if (Date.now() - began < 1000) await new Promise((r) => { setTimeout(r, 2000); });
  }
}

/** Where something stands. @param {{path: string, attempt: number, text: string, change: any, close: () => void}} p */
function Places({path, attempt, text, change, close}) {
  const [got, set] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  const more = (/** @type {number} */ offset, /** @type {any[]} */ before) => get(path + '/find', {attempt, text, fold: true, offset}).then((f) => { setError(null); set({...f, places: [...before, ...f.places].slice(-500)}); }, setError);
  useEffect(() => { void more(0, []); }, []);
  return html`<section aria-label="Found" class="stack">
    <p class="small row"><span role="status">${got ? (got.places.length ? count(got.places.length, 'place') + (got.next ? ' so far' : '') : got.next ? 'Not found so far.' : 'Not found.') : 'Searching'}</span>
      ${got?.next > 0 && html`<button type="button" class="plain" onClick=${() => more(got.next, got.places)}>Search on from ${size(got.next)} of ${size(got.size)}</button>`}
      <button type="button" class="plain" onClick=${close}>Close</button></p>
    <${Trouble} error=${error} what="It was not searched" />
    ${got?.places.length > 0 && html`<ol class="output-found" tabindex="0" aria-label="Places">${got.places.map((/** @type {any} */ p) => html`<li key=${p.offset}>
      <a href=${to(p)} onClick=${(/** @type {Event} */ e) => { e.preventDefault(); change({at: String(Math.max(0, p.offset - new TextEncoder().encode(p.before).length)), hit: String(p.offset)}, {push: true}); }}>
        <span class="output-number">${number(p.line)}</span><span class="cut">${p.before}<mark>${p.text}</mark>${p.after}</span></a></li>`)}</ol>`}
  </section>`;
}

/** @param {any} p */
const to = (p) => href(place(), {...Object.fromEntries(new URLSearchParams(location.search)), at: String(Math.max(0, p.offset - p.before.length)), hit: String(p.offset)});
