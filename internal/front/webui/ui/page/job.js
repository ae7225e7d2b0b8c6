// One job, live.
import {html} from '../vendor/preact.js';
import {href} from '../lib/place.js';
import {useTopic} from '../lib/hub.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {Segments} from '../part/segments.js';

/** @param {{id: string}} p */
export function Job({id}) {
  const {state, connection} = useTopic('job', {id}, (_, m) => m.job);
  return html`<${Page} title=${state?.command ?? id} up=${{href: href(''), text: 'Overview'}} connection=${connection} head=${state && html`<${Mark} state=${state.state} />`}>
    ${state && html`<${Segments} counts=${{...state.counts, running: state.running}} total=${state.targets} />`}
  </${Page}>`;
}
