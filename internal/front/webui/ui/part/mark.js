// A state as a sign and a word in its colour: never colour alone.
import {html} from '../vendor/preact.js';
import {signs, hue} from '../lib/signs.js';
import {word} from '../lib/words.js';

/** @param {{state: string, size?: number}} p the sign alone, hidden from assistive technology: a word stands beside it */
export const Sign = ({state, size = 16}) => html`<svg class="sign" data-state=${hue(state)} width=${size} height=${size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
  <path d=${signs[state] ?? signs.unknown} /></svg>`;

/** @param {{state: string, children?: any}} p */
export const Mark = ({state, children}) => html`<span class="mark" data-state=${hue(state)}><${Sign} state=${state} />${children ?? word[/** @type {keyof typeof word} */ (state)] ?? state}</span>`;
