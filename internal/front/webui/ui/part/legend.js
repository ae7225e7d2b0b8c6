// How many hosts are in each state; a click shows those alone.
import {html} from '../vendor/preact.js';
import {number, word} from '../lib/words.js';
import {useModel} from '../lib/job.js';
import {Sign} from './mark.js';
import {hue} from '../lib/signs.js';

/** @param {{model: import('../lib/job.js').Model, shown: string[], onShow: (states: string[]) => void}} p */
export function Legend({model, shown, onShow}) {
  useModel(model, 'cells', 'board');
  const states = model.board.states;
  return html`<ul class="legend" aria-label="Hosts by state">${states.map((/** @type {string} */ s, /** @type {number} */ k) => (model.counts.all[k] > 0 || shown.includes(s)) && html`<li key=${s}>
    <button type="button" data-state=${hue(s)} aria-pressed=${shown.includes(s) ? 'true' : 'false'} onClick=${() => onShow(shown.includes(s) ? shown.filter((x) => x !== s) : [...shown, s])}>
      <${Sign} state=${s} /><span>${word[/** @type {keyof typeof word} */ (s)] ?? s}</span> <strong class="num">${number(model.counts.all[k])}</strong></button></li>`)}
  </ul>`;
}
