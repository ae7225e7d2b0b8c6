// Hosts that are out of service, and why.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {clean} from '../lib/clean.js';
import {When} from './when.js';
import {Mark} from './mark.js';

/** @param {{hosts: any[], spaces: boolean}} p spaces: they are of several namespaces */
export const HostsOut = ({hosts, spaces}) => html`<ul class="hostsout">${hosts.map((h) => html`<li key=${h.namespace + ' ' + h.host}>
  <span class="row"><a class="mono" href=${href(`hosts/${part(h.namespace)}/${part(h.host)}`)}>${clean(h.host)}</a>
    ${h.unknown ? html`<${Mark} state="unknown" />` : h.running ? html`<${Mark} state="running" />` : h.held ? html`<${Mark} state="paused">held</${Mark}>` : h.retired ? html`<${Mark} state="skipped">retired</${Mark}>` : html`<${Mark} state="failed">out</${Mark}>`}
    ${spaces && html`<span class="small quiet">${h.namespace}</span>`}
    <span class="small quiet"><${When} at=${h.since} /></span></span>
  <span class="small">${clean(h.reason || h.why)}${h.by && html`<span class="quiet">, by ${clean(h.by)}</span>`}${h.job && html` <a class="mono" href=${href(`jobs/${part(h.job)}`)}>${h.job}</a>`}</span>
</li>`)}</ul>`;
