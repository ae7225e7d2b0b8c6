// Hosts in flight and out of service over time, and how many are done: drawn, and told in words.
import {html, useState, useEffect, useLayoutEffect, useRef} from '../vendor/preact.js';
import {get} from '../lib/api.js';
import {part} from '../lib/place.js';
import {clean} from '../lib/clean.js';
import {number, lasting} from '../lib/words.js';
import {colours, onScheme} from '../lib/paint.js';
import {useModel} from '../lib/job.js';

const askEvery = 3000, height = 140;

/** @param {{model: import('../lib/job.js').Model, id: string, group: string, onGroup: (g: string) => void}} p */
export function Timeline({model, id, group, onGroup}) {
  useModel(model, 'board');
  const [line, set] = useState(/** @type {any} */ (null));
  const at = useRef(/** @type {HTMLCanvasElement|null} */ (null));
  const [width, setWidth] = useState(0);
  const [scheme, setScheme] = useState(0);
  useEffect(() => onScheme(() => setScheme((n) => n + 1)), []);
  useEffect(() => {
    const stop = new AbortController();
    let due = 0;
    const ask = () => get(`jobs/${part(id)}/timeline`, {group}, stop.signal).then(set, () => {}); // what is there stays
    void ask();
    const off = model.on('cells', () => { due ||= setTimeout(() => { due = 0; if (!document.hidden) void ask(); }, askEvery); });
    return () => { stop.abort(); clearTimeout(due); off(); };
  }, [model, id, group]);
  useLayoutEffect(() => {
    const box = /** @type {HTMLElement} */ (at.current?.parentElement), look = () => setWidth(Math.floor(box.clientWidth));
    look();
    const o = new ResizeObserver(look);
    o.observe(box);
    return () => o.disconnect();
  }, []);
  const n = line?.in_flight.length ?? 0, top = line ? Math.max(1, ...line.out, ...line.in_flight) : 1, total = group ? Math.max(1, ...(line?.done ?? [])) : model.board.job.targets;
  useLayoutEffect(() => {
    const canvas = at.current;
    if (!canvas || !width || !line) return;
    const ratio = Math.min(3, devicePixelRatio || 1);
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const x = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')), c = colours(['running', 'running-fill', 'failed', 'succeeded', 'rule', 'ink-2']);
    x.scale(ratio, ratio);
    const pad = 4, w = width - 2 * pad, h = height - 2 * pad;
    x.strokeStyle = c.rule;
    x.lineWidth = 1;
    for (const f of [0, 0.5, 1]) { x.beginPath(); x.moveTo(pad, Math.round(pad + h * f) + 0.5); x.lineTo(pad + w, Math.round(pad + h * f) + 0.5); x.stroke(); }
    const draw = (/** @type {number[]} */ v, /** @type {number} */ max, /** @type {boolean} */ steps) => {
      x.beginPath();
      x.moveTo(pad, pad + h);
      v.forEach((y, i) => {
        const x0 = pad + (w * i) / n, x1 = pad + (w * (i + 1)) / n, yy = pad + h - (h * y) / max;
        if (steps) x.lineTo(x0, yy);
        x.lineTo(x1, yy);
      });
    };
    draw(line.in_flight, top, true);
    x.lineTo(pad + w, pad + h);
    x.fillStyle = c['running-fill'];
    x.fill();
    draw(line.in_flight, top, true);
    x.strokeStyle = c.running;
    x.lineWidth = 1.5;
    x.stroke();
    draw(line.out, top, true);
    x.strokeStyle = c.failed;
    x.setLineDash([6, 3]);
    x.stroke();
    draw(line.done, total, false);
    x.strokeStyle = c.succeeded;
    x.setLineDash([2, 2]);
    x.stroke();
  }, [line, width, scheme]);
  const groups = [...new Set([...model.board.constraints.map((/** @type {any} */ r) => r.group), ...model.board.tags.map((/** @type {any} */ t) => '$' + t.tag)])].filter((g) => g.startsWith('$')).sort();
  const peak = (/** @type {number[]} */ v) => { const m = Math.max(...v), i = v.indexOf(m); return `${number(m)}, ${lasting(i * line.step)} after it was submitted`; };
  return html`<div class="timeline">
    <div class="row small"><label>Hosts of <select value=${group} onChange=${(/** @type {any} */ e) => onGroup(e.currentTarget.value)}><option value="">the whole job</option>${groups.map((g) => html`<option key=${g} value=${g}>${clean(g)}</option>`)}</select></label>
      <span class="timeline-key" data-line="in">in flight</span><span class="timeline-key" data-line="out">out of service</span><span class="timeline-key" data-line="done">done, of ${number(total)}</span></div>
    <div class="timeline-box"><canvas ref=${at} role="img" aria-label=${line && n ? `Most in flight at once: ${peak(line.in_flight)}. Most out of service at once: ${peak(line.out)}. Done: ${number(line.done[n - 1])}.` : 'Nothing yet'}></canvas></div>
    ${line && n > 0 && html`<p class="small quiet num timeline-ends"><span>0</span><span>most at once ${number(top)}</span><span>${lasting(n * line.step)}</span></p>`}
  </div>`;
}
