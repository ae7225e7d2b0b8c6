// The fleet of a namespace: its rules as they are written and as they work out, its hosts, its versions.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {useLoad} from '../lib/load.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {When} from '../part/when.js';
import {count} from '../lib/words.js';
import {WhichSpace} from '../part/whichspace.js';
import {FleetFiles} from '../part/fleetfiles.js';
import {FleetMeaning} from '../part/fleetmeaning.js';
import {FleetHosts} from '../part/fleethosts.js';
import {FleetVersions} from '../part/fleetversions.js';
import {FleetDiff} from '../part/fleetdiff.js';

/** Views by name: what it is called, and what it is. @type {[string, string, any][]} */
const views = [['rules', 'Rules', FleetFiles], ['meaning', 'Worked out', FleetMeaning], ['hosts', 'Hosts', FleetHosts],
  ['versions', 'Versions', FleetVersions], ['diff', 'Differences', FleetDiff]];

/** @param {{ns?: string}} p */
export const Fleet = ({ns}) => ns ? html`<${FleetOf} ns=${ns} />` : html`<${WhichSpace} title="Fleet" page="fleet" />`;

/** @param {{ns: string}} p */
function FleetOf({ns}) {
  const [query] = useQuery();
  const view = views.find(([name]) => name === query.get('tab')) ?? (query.has('from') ? views[4] : views[0]);
  const version = query.get('version') ?? '';
  const versions = useLoad(`namespaces/${part(ns)}/fleet/versions`);
  const spaces = useLoad('namespaces');
  const list = versions.data?.fleets ?? [];
  const current = list[list.length - 1];
  const shown = list.find((/** @type {any} */ f) => String(f.version) === version) ?? current;
  const page = `fleet/${part(ns)}`;
  const There = view[2];
  return html`<${Page} title=${`Fleet of ${ns}`} up=${spaces.data?.namespaces.length > 1 ? {href: href('fleet'), text: 'All namespaces'} : undefined} head=${html`<a class="button" href=${href(`new/${part(ns)}`)}>New job</a>`}>
    <${Trouble} error=${versions.error} what="The fleet is not shown" />
    ${current && html`<p class="fleet-what">Version ${shown.version} of ${list.length}${shown === current ? ', in force' : html`, <strong>not in force</strong> (<a href=${href(page, {tab: query.get('tab') ?? ''})}>the current one</a>)`}:
      ${' '}${count(shown.hosts, 'host')}, by ${shown.by} <${When} at=${shown.time} />${shown.note && html`: ${shown.note}`}</p>
    <nav aria-label="Fleet" class="tabs"><ul>${views.map(([name, text]) => html`<li key=${name}><a href=${href(page, {tab: name === 'rules' ? '' : String(name), version: ['rules', 'meaning'].includes(String(name)) ? version : null})} aria-current=${view[0] === name ? 'page' : null}>${text}</a></li>`)}</ul></nav>
    <${There} key=${view[0] + version} ns=${ns} version=${version} list=${list} />`}
    ${versions.data && !current && html`<div class="note"><p>No fleet was applied to the namespace ${ns} yet.</p><p class="small">Next: <code>sluice fleet apply -f FLEET.yaml</code></p></div>`}
  </${Page}>`;
}
