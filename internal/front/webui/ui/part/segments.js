// A bar of counts by outcome, with the counts as words for whoever sees no bar.
import {html} from '../vendor/preact.js';
import {outcomes, number, word} from '../lib/words.js';

/** @param {{counts: Record<string, number>, total: number}} p */
export function Segments({counts, total}) {
  const shown = outcomes.filter((o) => counts[o] > 0);
  return html`<div class="segments" role="img" aria-label=${shown.map((o) => `${number(counts[o])} ${word[/** @type {keyof typeof word} */ (o)]}`).join(', ') || 'none'}>
    ${shown.map((o) => html`<span key=${o} data-state=${o} style=${{flexGrow: counts[o] / Math.max(1, total)}}></span>`)}
  </div>`;
}
