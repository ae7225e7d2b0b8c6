// What a host printed, as spans that can be shown: colours as classes, and every character that would do something instead of
// showing something as a visible sign. Nothing in it is ever taken for markup.

/**
 * @typedef {{fg: string, bg: string, bold: boolean, dim: boolean, italic: boolean, under: boolean, turned: boolean}} Style
 * @typedef {{text: string, look: string, sign?: boolean}} Span
 */

/** @type {Style} */
export const plain = {fg: '', bg: '', bold: false, dim: false, italic: false, under: false, turned: false};

const strict = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});

/** Text of bytes. Those that are no UTF-8 become U+DC80 to U+DCFF, which stand in no text. @param {Uint8Array} b */
export function decode(b) {
  try { return strict.decode(b); } catch { /* some of it is none */ }
  let out = '', from = 0;
  const flush = (/** @type {number} */ to) => { if (to > from) out += strict.decode(b.subarray(from, to)); };
  for (let i = 0; i < b.length;) {
    const n = length(b, i);
    if (n) { i += n; continue; }
    flush(i);
    out += String.fromCharCode(0xdc00 + b[i]);
    from = ++i;
  }
  flush(b.length);
  return out;
}

/** How many bytes the character at i has; 0 where there is none. @param {Uint8Array} b @param {number} i */
function length(b, i) {
  const c = b[i];
  if (c < 0x80) return 1;
  const n = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (!n || i + n > b.length) return 0;
  const low = c === 0xe0 ? 0xa0 : c === 0xf0 ? 0x90 : 0x80, high = c === 0xed ? 0x9f : c === 0xf4 ? 0x8f : 0xbf;
  if (b[i + 1] < low || b[i + 1] > high) return 0;
  for (let k = 2; k < n; k++) if (b[i + k] < 0x80 || b[i + k] > 0xbf) return 0;
  return n;
}

// The colours of a program (SGR), or one character that hides; the same as lib/clean.js knows, but for the tab.
const special = /\x1b\[([0-9;:]*)m|[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff]|[\u{e0000}-\u{e007f}]/gu;

/** @param {string} c */
function sign(c) {
  const code = c.codePointAt(0) ?? 0;
  if (c === '\x1b') return '\\e';
  if (c === '\r') return '\\r';
  if (c === '\n') return '\\n';
  if (code >= 0xdc80 && code <= 0xdcff) return '\\x' + (code - 0xdc00).toString(16);
  return code < 0x100 ? '\\x' + code.toString(16).padStart(2, '0') : `\\u{${code.toString(16)}}`;
}

const names = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

/** @param {Style} was @param {string} params @returns {Style} */
function select(was, params) {
  const s = {...was};
  const list = params.split(';');
  for (let i = 0; i < list.length; i++) {
    const n = Number((list[i] ?? '').split(':')[0] || 0);
    if (n === 0) Object.assign(s, plain);
    else if (n === 1) s.bold = true;
    else if (n === 2) s.dim = true;
    else if (n === 3) s.italic = true;
    else if (n === 4) s.under = !list[i].endsWith(':0');
    else if (n === 7) s.turned = true;
    else if (n === 22) s.bold = s.dim = false;
    else if (n === 23) s.italic = false;
    else if (n === 24) s.under = false;
    else if (n === 27) s.turned = false;
    else if (n >= 30 && n <= 37) s.fg = names[n - 30];
    else if (n >= 90 && n <= 97) s.fg = names[n - 90];
    else if (n >= 40 && n <= 47) s.bg = names[n - 40];
    else if (n >= 100 && n <= 107) s.bg = names[n - 100];
    else if (n === 39) s.fg = '';
    else if (n === 49) s.bg = '';
    else if (n === 38 || n === 48) { // one of 256, or of all: the nearest that the page has
      const colon = list[i].includes(':');
      const rest = colon ? list[i].split(':').slice(1) : list.slice(i + 1);
      const name = rest[0] === '5' ? of256(Number(rest[1])) : rest[0] === '2' ? near(/** @type {[number, number, number]} */ (rest.slice(colon && rest.length > 4 ? 2 : 1).map(Number))) : '';
      if (n === 38) s.fg = name; else s.bg = name;
      if (!colon) i += rest[0] === '5' ? 2 : rest[0] === '2' ? 4 : 0;
    }
  }
  return s;
}

/** @param {number} n */
function of256(n) {
  if (!(n >= 0 && n < 256)) return '';
  if (n < 16) return names[n % 8];
  if (n >= 232) return '';
  const c = n - 16;
  return near([Math.floor(c / 36) * 51, Math.floor(c / 6) % 6 * 51, c % 6 * 51]);
}

/** @param {[number, number, number]} rgb */
function near([r, g, b]) {
  const most = Math.max(r, g, b), least = Math.min(r, g, b);
  if (!(most - least > 40)) return '';
  const bit = (/** @type {number} */ v) => v > (most + least) / 2 ? 1 : 0;
  return names[bit(r) + 2 * bit(g) + 4 * bit(b)];
}

/** Classes of a style. @param {Style} s */
function look(s) {
  const out = [];
  if (s.fg) out.push('output-f-' + s.fg);
  if (s.bg) out.push('output-b-' + s.bg);
  for (const k of /** @type {const} */ (['bold', 'dim', 'italic', 'under', 'turned'])) if (s[k]) out.push('output-' + k);
  return out.join(' ');
}

/**
 * Spans of one line, without its end, and the style that it leaves behind.
 * @param {string} line as decode makes it @param {Style} style
 * @returns {{spans: Span[], style: Style}}
 */
export function spans(line, style) {
  /** @type {Span[]} */
  const out = [];
  let at = 0;
  const add = (/** @type {string} */ text, /** @type {boolean} */ isSign) => {
    const l = look(style), last = out[out.length - 1];
    if (!text) return;
    if (last && last.look === l && !!last.sign === isSign) last.text += text;
    else out.push(isSign ? {text, look: l, sign: true} : {text, look: l});
  };
  if (line.endsWith('\r')) line = line.slice(0, -1);
  for (const m of line.matchAll(special)) {
    const start = m.index ?? 0;
    add(line.slice(at, start), false);
    at = start + m[0].length;
    if (m[1] !== undefined) style = select(style, m[1]);
    else add(sign(m[0]), true);
  }
  add(line.slice(at), false);
  return {spans: out, style};
}
