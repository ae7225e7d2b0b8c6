// All hosts that are out of service, and why.
import {html} from '../vendor/preact.js';
import {href} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {count} from '../lib/words.js';
import {useLook} from '../lib/load.js';
import {Page} from '../part/page.js';
import {HostsOut} from '../part/hostsout.js';
import {Trouble} from '../part/trouble.js';

export function Out() {
  const [query, change] = useQuery();
  const namespace = query.get('namespace') ?? '', retired = query.has('retired');
  const {data, error} = useLook('hosts/out', {namespace, retired: retired || undefined});
  return html`<${Page} title=${namespace ? `Out of service in ${namespace}` : 'Out of service'} up=${{href: href(''), text: 'Overview'}} head=${data && html`<span class="quiet">${count(data.total, 'host')}</span>`}>
    <p><label><input type="checkbox" checked=${retired} onChange=${(/** @type {any} */ e) => change({retired: e.currentTarget.checked ? '1' : null})} /> also retired hosts</label></p>
    <${Trouble} error=${error} what="The hosts are not shown" />
    ${data && html`<section class="card" aria-label="Hosts">${data.hosts.length ? html`<${HostsOut} hosts=${data.hosts} spaces=${!namespace} />` : html`<p class="quiet">No host is out of service.</p>`}</section>`}
    ${data && data.total > data.hosts.length && html`<p class="quiet">${count(data.total - data.hosts.length, 'more')}: name a namespace.</p>`}
  </${Page}>`;
}
