// What people did, as the audit says it: one line an act, newest first.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {clean} from '../lib/clean.js';
import {moment} from '../lib/words.js';

/** @param {{entries: any[], who?: boolean}} p who: with a column of who it was */
export function Acts({entries, who = true}) {
  return html`<ol class=${who ? 'acts' : 'acts acts-few'}>${entries.map((e) => html`<li key=${`${e.namespace} ${e.seq} ${e.did}`} class=${e.refused ? 'acts-refused' : ''}>
    <time class="acts-time small quiet num" dateTime=${e.time}>${moment(e.time)}</time>
    ${who && html`<span class="acts-who">${e.who === 'nobody known' ? html`<em>${e.who}</em>` : html`<a href=${href(`users/${part(e.who)}`)}>${e.who}</a>`}</span>`}
    <div class="acts-what"><span>${clean(e.what)}${e.times > 1 && html` <span class="quiet">(${e.times} times)</span>`}</span>
      ${e.refused && html`<span class="acts-why"><strong>refused:</strong> ${clean(e.refused)}</span>`}</div>
    <span class="acts-where small quiet">${e.namespace !== '.access' && html`<span>in ${e.namespace}</span>`}${e.job && html`<span>job <a class="mono" href=${href(`jobs/${part(e.job)}`)}>${e.job}</a></span>`}${e.from && html`<span>from ${clean(e.from)}</span>`}</span></li>`)}</ol>`;
}
