// What cells look like on a canvas: one small picture a state, made once for a size and a scheme and copied into place.
import {signs, hue} from './signs.js';

/** Colours of the tokens as they are now: custom properties tell no colour by themselves. @param {string[]} names @returns {Record<string, string>} */
export function colours(names) {
  const probe = document.createElement('span');
  probe.hidden = true;
  document.body.append(probe);
  /** @type {Record<string, string>} */
  const out = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    out[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return out;
}

/** Calls f when the colours are others. @param {() => void} f @returns {() => void} how to stop */
export function onScheme(f) {
  const m = matchMedia('(prefers-color-scheme: dark)');
  m.addEventListener('change', f);
  return () => m.removeEventListener('change', f);
}

/**
 * Pictures of cells by state: [as they are, dimmed].
 * @param {string[]} states @param {number} size CSS pixels @param {number} ratio device pixels in one
 */
export function sprites(states, size, ratio) {
  const at = Math.round(size * ratio);
  const c = colours(['ground', ...new Set(states.flatMap((s) => [hue(s), hue(s) + '-fill']))]);
  return states.map((state) => [1, 0.25].map((alpha) => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = at;
    const x = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    x.fillStyle = c.ground;
    x.fillRect(0, 0, at, at);
    x.globalAlpha = alpha;
    x.fillStyle = c[hue(state) + '-fill'];
    x.fillRect(0, 0, at, at);
    x.strokeStyle = c[hue(state)];
    if (state !== 'waiting') { x.lineWidth = Math.max(1, ratio); x.strokeRect(x.lineWidth / 2, x.lineWidth / 2, at - x.lineWidth, at - x.lineWidth); }
    if (size >= 8) {
      x.scale(at / 16, at / 16);
      x.lineWidth = size >= 14 ? 1.8 : 2.4;
      x.lineCap = x.lineJoin = 'round';
      x.stroke(new Path2D(signs[state] ?? signs.unknown));
    }
    return canvas;
  }));
}
