// Text of others as it can be read: nothing in it hides, or turns the direction of reading. The same as the command line
// shows, by the same rules (internal/front/clean).

// C0, delete, C1; zero width and direction; letters that show nothing; tags.
const hidden = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
/** @type {Record<string, string>} */
const short = {'\n': '\\n', '\t': '\\t', '\r': '\\r', '\x1b': '\\e'};

/** @param {string} text */
export const clean = (text) => text.replace(hidden, (c) => {
  const code = c.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  return short[c] ?? (code < 0x100 ? '\\x' + hex.padStart(2, '0') : `\\u{${hex}}`);
});
