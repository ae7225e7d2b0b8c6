// Why a job does not go on, in sentences, with who is in the way.
import {html, useState} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {href, part} from '../lib/place.js';
import {useModel} from '../lib/job.js';
import {Holders} from './gauges.js';

const most = 4;

/** @param {{model: import('../lib/job.js').Model}} p */
export function Waits({model}) {
  useModel(model, 'standing');
  const [all, set] = useState(false);
  const {waits, job} = model.board;
  const halted = job.state === 'halted' || job.halting ? job.halted : null;
  if (!waits.length && !halted) return null;
  return html`<div class="waits note" role="status">
    ${halted && html`<p><strong>Halted:</strong> ${clean(halted.reason)}${halted.holders?.length ? html` (<${Holders} holders=${halted.holders.map((/** @type {string} */ host) => ({host}))} namespace=${job.namespace} />)` : ''}</p>`}
    ${(all ? waits : waits.slice(0, most)).map((/** @type {any} */ w) => html`<p key=${w.host + w.text}>${w.hosts > 1 ? html`<strong class="num">${count(w.hosts, 'host')}</strong>, such as ${clean(w.host)}: ` : html`<strong>${clean(w.host)}</strong>: `}${clean(w.text)}${w.holders?.length ? html`. In the way: <${Holders} holders=${w.holders} namespace=${job.namespace} />${w.holders[0].job && w.holders[0].job !== job.id && html`, of job <a class="mono" href=${href(`jobs/${part(w.holders[0].job)}`)}>${w.holders[0].job}</a>`}` : ''}</p>`)}
    ${waits.length > most && html`<button type="button" class="plain" aria-expanded=${all ? 'true' : 'false'} onClick=${() => set(!all)}>${all ? 'Fewer' : `All ${number(waits.length)} reasons`}</button>`}
  </div>`;
}
