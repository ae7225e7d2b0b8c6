// All hosts of a job, one cell each, in sections. Cells are drawn on canvases, and only those that changed; a list with one
// option, the host under the cursor, stands for them where they cannot be seen.
import {html, useState, useEffect, useLayoutEffect, useMemo, useRef, useId} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {go} from '../lib/router.js';
import {clean} from '../lib/clean.js';
import {word, count, number, lasting} from '../lib/words.js';
import {sections} from '../lib/group.js';
import {sprites, onScheme} from '../lib/paint.js';
import {useModel} from '../lib/job.js';
import {Mark} from './mark.js';

/** Size of a cell with its gap, by how many there are. @param {number} n */
const pitch = (n) => n <= 80 ? 28 : n <= 400 ? 22 : n <= 2000 ? 16 : n <= 6000 ? 12 : 10;

const piece = 2000; // cells that are drawn at once

/** What is said of one host. @param {import('../lib/job.js').Model} model @param {number} i */
export function about(model, i) {
  const h = /** @type {import('../lib/job.js').Columns} */ (model.hosts), b = model.board, state = b.states[h.state[i]];
  const begin = new Date(b.job.submitted).getTime(), s = b.stages[h.stage[i]];
  const for_ = state === 'running' && h.since[i] >= 0 ? ` for ${lasting(Math.max(0, Date.now() - begin - h.since[i]))}` : h.took[i] > 0 ? ` after ${lasting(h.took[i])}` : '';
  return {name: h.names[i], state, text: `${word[/** @type {keyof typeof word} */ (state)] ?? state}${for_}${h.attempt[i] > 1 ? `, attempt ${h.attempt[i]}` : ''}${s ? `, stage ${s.stage}` : ''}`};
}

/** The host so many lines below (above: less than 0) in sections of lines of cells, or the nearest. @param {number[][]} parts @param {number} i @param {number} cols @param {number} by @returns {number} */
function down(parts, i, cols, by) {
  let p = parts.findIndex((hosts) => hosts.includes(i)), k = parts[p]?.indexOf(i) ?? -1;
  if (k < 0) return i;
  const step = Math.sign(by), col = k % cols;
  for (let n = Math.abs(by); n > 0; n--) {
    const line = Math.floor(k / cols) + step;
    if (line >= 0 && line * cols < parts[p].length) k = Math.min(line * cols + col, parts[p].length - 1);
    else if (parts[p + step]) {
      p += step;
      const first = step > 0 ? 0 : Math.floor((parts[p].length - 1) / cols) * cols;
      k = Math.min(first + col, parts[p].length - 1);
    } else break;
  }
  return parts[p][k];
}

/** One section's cells. @param {{model: import('../lib/job.js').Model, hosts: number[], size: number, dim: (i: number) => boolean, dims: string, cursor: number, onPoint: (i: number) => void, onOpen: (i: number) => void, onCols: (n: number) => void}} p */
function Cells({model, hosts, size, dim, dims, cursor, onPoint, onOpen, onCols}) {
  const at = useRef(/** @type {HTMLCanvasElement|null} */ (null));
  const [width, setWidth] = useState(0);
  const [scheme, setScheme] = useState(0);
  const cols = Math.max(1, Math.floor(width / size)), rows = Math.ceil(hosts.length / cols), ratio = Math.min(3, devicePixelRatio || 1);
  const place = useMemo(() => new Map(hosts.map((i, k) => [i, k])), [hosts]);
  useLayoutEffect(() => onCols(cols), [cols]);
  useLayoutEffect(() => {
    const box = /** @type {HTMLElement} */ (at.current?.parentElement);
    const look = () => setWidth(Math.floor(box.clientWidth));
    look();
    const o = new ResizeObserver(look);
    o.observe(box);
    return () => o.disconnect();
  }, []);
  useEffect(() => onScheme(() => setScheme((n) => n + 1)), []);
  const states = model.board.states;
  const cell = size - (size > 12 ? 3 : 2);
  const art = useMemo(() => sprites(states, cell, ratio), [cell, ratio, scheme, states.length]);
  useLayoutEffect(() => {
    const canvas = at.current, h = model.hosts;
    if (!canvas || !width || !h) return undefined;
    canvas.width = Math.round(cols * size * ratio);
    canvas.height = Math.round(rows * size * ratio);
    canvas.style.width = `${cols * size}px`;
    canvas.style.height = `${rows * size}px`;
    const x = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', {alpha: true}));
    const draw = (/** @type {number} */ i, /** @type {number} */ k) => {
      x.drawImage(art[h.state[i]][dim(i) ? 1 : 0], Math.round((k % cols) * size * ratio), Math.round(Math.floor(k / cols) * size * ratio));
    };
    // Many are drawn in pieces, so that nobody waits for all of them.
    let next = 0, frame = 0;
    const some = () => {
      for (const end = Math.min(hosts.length, next + piece); next < end; next++) draw(hosts[next], next);
      frame = next < hosts.length ? requestAnimationFrame(some) : 0;
    };
    some();
    const off = model.on('cells', (changed) => {
      if (!changed) { next = 0; cancelAnimationFrame(frame); some(); return; }
      for (const i of changed) { const k = place.get(i); if (k !== undefined) draw(i, k); }
    });
    return () => { cancelAnimationFrame(frame); off(); };
  }, [model, model.versions.board, hosts, width, art, dims]);
  const find = (/** @type {PointerEvent|MouseEvent} */ e) => {
    const box = /** @type {HTMLElement} */ (at.current).getBoundingClientRect();
    const c = Math.floor((e.clientX - box.left) / size), r = Math.floor((e.clientY - box.top) / size);
    return c < 0 || c >= cols || r < 0 ? undefined : hosts[r * cols + c];
  };
  const k = place.get(cursor);
  const mark = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => mark.current?.scrollIntoView({block: 'nearest'}), [k]);
  return html`<div class="grid-cells"><canvas ref=${at} aria-hidden="true" data-hosts=${hosts.length} onPointerMove=${(/** @type {PointerEvent} */ e) => { const i = find(e); if (i !== undefined) onPoint(i); }}
      onClick=${(/** @type {any} */ e) => { const i = find(e); if (i === undefined) return; if (e.pointerType === 'touch') onPoint(i); else onOpen(i); }}></canvas>
    ${k !== undefined && html`<span class="grid-cursor" ref=${mark} style=${{insetInlineStart: `${(k % cols) * size}px`, insetBlockStart: `${Math.floor(k / cols) * size}px`, width: `${cell}px`, height: `${cell}px`}}></span>`}</div>`;
}

/**
 * @param {{model: import('../lib/job.js').Model, id: string, by: string, shown: string[], text: string}} p
 * by: how they are grouped; shown: states that are not dimmed, none for all; text: a piece of a name
 */
export function Grid({model, id, by, shown, text}) {
  const board = model.board, hosts = /** @type {import('../lib/job.js').Columns} */ (model.hosts);
  const parts = useMemo(() => sections(board, hosts, by), [hosts, by]);
  const order = useMemo(() => parts.flatMap((p) => p.hosts), [parts]);
  const [cursor, move] = useState(-1);
  const [focused, focus] = useState(false);
  const list = useId();
  const cols = useRef(1); // all sections are as wide
  const [, again] = useState(0);
  useModel(model, 'standing');
  useEffect(() => model.on('cells', (changed) => { if (!changed || changed.includes(cursor)) again((n) => n + 1); }), [model, cursor]);
  const size = pitch(hosts.names.length);
  const names = useMemo(() => hosts.names.map((n) => n.toLowerCase()), [hosts]);
  const want = text.trim().toLowerCase();
  const dims = `${shown.join()} ${want}`;
  const dim = (/** @type {number} */ i) => (shown.length > 0 && !shown.includes(board.states[hosts.state[i]])) || (want !== '' && !names[i].includes(want));
  const open = (/** @type {number} */ i) => go(href(`jobs/${part(id)}/hosts/${part(hosts.names[i])}`));
  const key = (/** @type {KeyboardEvent} */ e) => {
    const k = order.indexOf(cursor), n = order.length;
    /** @type {Record<string, number>} */
    const to = {ArrowRight: k + 1, ArrowLeft: k - 1, Home: 0, End: n - 1};
    /** @type {Record<string, number>} */
    const lines = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10};
    if (e.key === 'Enter' && cursor >= 0) open(cursor);
    else if (e.key in to) move(order[Math.max(0, Math.min(n - 1, k < 0 ? 0 : to[e.key]))]);
    else if (e.key in lines && n) move(k < 0 ? order[0] : down(parts.map((p) => p.hosts), cursor, cols.current, lines[e.key]));
    else return;
    e.preventDefault();
  };
  const at = cursor >= 0 && cursor < hosts.names.length ? about(model, cursor) : null;
  return html`<div class="grid">
    <div class="grid-list" role="listbox" tabindex="0" aria-label=${`${count(hosts.names.length, 'host')}, one cell each. Arrows move, Enter opens.`} aria-activedescendant=${at ? list : null} onKeyDown=${key}
      onFocus=${() => { focus(true); if (cursor < 0 && order.length) move(order[0]); }} onBlur=${() => focus(false)}>
      ${parts.map((p) => html`<div class="grid-section" role="presentation" key=${p.name}>${parts.length > 1 && html`<p class="grid-name small" role="presentation">${clean(p.name)} <span class="quiet num">${number(p.hosts.length)}</span></p>`}
        <${Cells} model=${model} hosts=${p.hosts} size=${size} dim=${dim} dims=${dims} cursor=${focused ? cursor : -1} onPoint=${move} onOpen=${open} onCols=${(/** @type {number} */ n) => { cols.current = n; }} /></div>`)}
      <span id=${list} role="option" aria-selected="true" class="unseen" aria-posinset=${at ? order.indexOf(cursor) + 1 : null} aria-setsize=${at ? order.length : null}>${at ? `${clean(at.name)}, ${at.text}` : 'no host'}</span>
    </div>
    <p class="grid-about small">${at ? html`<a class="mono" href=${href(`jobs/${part(id)}/hosts/${part(at.name)}`)}>${clean(at.name)}</a> <${Mark} state=${at.state}>${at.text}</${Mark}>` : html`<span class="quiet">Point at a cell, or go through them with the arrows.</span>`}</p>
  </div>`;
}

