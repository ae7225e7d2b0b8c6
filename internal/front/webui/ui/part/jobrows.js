// Jobs, one under the other: state, what, how far, who and where, since when, and why it does not go on.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {standing, over, tally, since} from '../lib/jobs.js';
import {clean} from '../lib/clean.js';
import {number, count, word} from '../lib/words.js';
import {Mark} from './mark.js';
import {Segments} from './segments.js';
import {When} from './when.js';

/** What of the counts is worth a word: not that all is as it should be. @param {import('../lib/jobs.js').Job} j */
function said(j) {
  const t = tally(j), done = j.targets - t.running - t.waiting;
  const bad = ['failed', 'timed_out', 'unreachable', 'unknown', 'cancelled', 'skipped'].filter((o) => t[o] > 0)
    .map((o) => `${number(t[o])} ${word[/** @type {keyof typeof word} */ (o)]}`);
  return [over(j) ? count(j.targets, 'host') : `${number(done)} of ${count(j.targets, 'host')} done`, t.running > 0 && `${number(t.running)} running`, ...bad].filter(Boolean).join(', ');
}

/** @param {{jobs: import('../lib/jobs.js').Job[], label: string}} p */
export const JobRows = ({jobs, label}) => html`<ul class="jobrows" aria-label=${label}>${jobs.map((j) => html`<li key=${j.id} class="jobrows-job">
  <${Mark} state=${standing(j)} />
  <a class="jobrows-what mono cut" href=${href(`jobs/${part(j.id)}`)}>${clean(j.command)}</a>
  <div class="jobrows-bar"><${Segments} counts=${tally(j)} total=${j.targets} /></div>
  <span class="jobrows-said small num">${said(j)}</span>
  <span class="jobrows-who small quiet"><a href=${href(`users/${part(j.by)}`)}>${clean(j.by)}</a> in <a href=${href('jobs', {namespace: j.namespace})}>${j.namespace}</a> · <span class="mono">${j.id}</span></span>
  <span class="jobrows-when small quiet">${over(j) ? 'ended ' : ''}<${When} at=${since(j)} /></span>
  ${j.why && html`<p class="jobrows-why small">${clean(j.why)}</p>`}
</li>`)}</ul>`;
