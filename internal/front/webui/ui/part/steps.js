// The steps of an attempt that deployed: what each is for, how it ended, and how long it took.
import {html} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {lasting} from '../lib/words.js';
import {purpose} from '../lib/steps.js';
import {Mark} from './mark.js';

/** @param {{steps: {name: string, exit_code: number, duration_ms: number}[]}} p */
export const Steps = ({steps}) => html`<ol class="steps" aria-label="Steps">${steps.map((s, i) => html`<li key=${i}>
  <${Mark} state=${s.exit_code === 0 ? 'succeeded' : 'failed'}><code>${clean(s.name)}</code></${Mark}>
  <span class="steps-what">${clean(purpose(s.name))}</span>
  <span class="small quiet num">${s.exit_code === 0 ? '' : `exit ${s.exit_code}, `}${lasting(s.duration_ms)}</span></li>`)}</ol>`;
