// The files of a fleet as they were applied, with line numbers.
import {html, useState} from '../vendor/preact.js';
import {part} from '../lib/place.js';
import {number, count} from '../lib/words.js';
import {useLoad} from '../lib/load.js';
import {Trouble} from './trouble.js';

const many = 2000; // lines that are drawn without being asked for

/** @param {{ns: string, version: string}} p */
export function FleetFiles({ns, version}) {
  const {data, error} = useLoad(`namespaces/${part(ns)}/fleet`, {version});
  if (!data) return html`<${Trouble} error=${error} what="The rules are not shown" />`;
  const b = data.fleet;
  const files = [...(b.files ?? [])].sort((x, y) => Number(y.path === b.main) - Number(x.path === b.main));
  return html`<div class="stack">
    ${files.map((/** @type {any} */ f) => html`<${File} key=${f.path} file=${f} />`)}
    ${(b.answers ?? []).map((/** @type {any} */ a) => html`<p key=${a.command.join(' ')} class="small">The program <code>${a.command.join(' ')}</code> named ${count(a.hosts?.length ?? 0, 'host')}.</p>`)}
    ${(b.inventories ?? []).map((/** @type {any} */ i) => html`<p key=${i.path} class="small">The inventory <code>${i.path}</code> is kept, too.</p>`)}
  </div>`;
}

/** @param {{file: {path: string, text: string, encoding?: string}}} p */
function File({file}) {
  const [all, set] = useState(false);
  if (file.encoding) return html`<section class="fleetfiles-file"><h2 class="mono">${file.path}</h2><p class="quiet">This file is no text.</p></section>`;
  const lines = file.text.replace(/\n$/, '').split('\n');
  const shown = all ? lines : lines.slice(0, many);
  return html`<section class="fleetfiles-file" aria-label=${file.path}>
    <h2 class="mono">${file.path}</h2>
    <div class="fleetfiles-text" tabindex="0" role="region" aria-label=${`Text of ${file.path}`}>
      <pre class="fleetfiles-numbers" aria-hidden="true">${shown.map((_, i) => i + 1).join('\n')}</pre>
      <pre>${shown.join('\n')}</pre>
    </div>
    ${shown.length < lines.length && html`<p><button type="button" onClick=${() => set(true)}>Show all ${number(lines.length)} lines</button></p>`}
  </section>`;
}
