// What can be done to a host of the fleet: whether it counts as out of service, and whether it is there at all.
import {html, useState} from '../vendor/preact.js';
import {part} from '../lib/place.js';
import {Control, WhyNot, useMay} from './may.js';
import {Asked} from './asked.js';

const acts = {
  release: {text: 'Release', title: 'Count as in service again?', said: 'Released.'},
  hold: {text: 'Hold', title: 'Take out of service?', said: 'Held.'},
  retire: {text: 'Retire', title: 'Say that it is gone for good?', said: 'Retired.'},
  return: {text: 'Return', title: 'Take back into the fleet?', said: 'Returned.'},
};

/**
 * @param {{namespace: string, hosts: string[], out?: boolean, held?: boolean, retired?: boolean, known?: any}} p
 * out: it counts as out of service, held and retired: why; known: whatever the effect follows from, to ask again
 */
export function HostControls({namespace, hosts, out = false, held = false, retired = false, known}) {
  const may = useMay(namespace, hosts)['host.change'];
  const [asking, ask] = useState('');
  const [said, say] = useState('');
  const shown = retired ? ['return'] : [...(out || held ? ['release'] : []), ...(held ? [] : ['hold']), 'retire'];
  return html`<section class="controls" aria-label="Controls">
    <div class="row controls-row">${shown.map((a) => html`<${Control} key=${a} may=${may} class=${a === 'release' || a === 'return' ? 'main' : ''} aria-haspopup="dialog"
      onClick=${() => { say(''); ask(a); }}>${/** @type {any} */ (acts)[a].text}</${Control}>`)}</div>
    <${WhyNot} of=${[may]} />
    <p class="controls-said" role="status">${said}</p>
    ${asking && html`<${Asked} title=${/** @type {any} */ (acts)[asking].title} verb=${/** @type {any} */ (acts)[asking].text} stop=${asking === 'retire'}
      effect=${`namespaces/${part(namespace)}/hosts/effect`} query=${{act: asking, host: hosts}} known=${[known, out, held, retired]}
      path=${`namespaces/${part(namespace)}/hosts/${asking}`} body=${{hosts}} reason="must" onClose=${() => ask('')}
      onDone=${() => { say(/** @type {any} */ (acts)[asking].said); ask(''); }} />`}
  </section>`;
}
