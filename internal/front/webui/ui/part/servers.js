// The servers of a cluster: who owns the log, and how much of it the others have.
import {html} from '../vendor/preact.js';
import {clean} from '../lib/clean.js';
import {count, number} from '../lib/words.js';
import {Mark} from './mark.js';
import {When, Lasting} from './when.js';

/** A member's role as a sign. @type {Record<string, string>} */
const signs = {owner: 'running', copy: 'succeeded', joining: 'paused', lost: 'failed', invited: 'waiting'};

/** What a role means. @type {Record<string, string>} */
const says = {owner: 'owns the log', copy: 'has a copy', joining: 'gets its copy', lost: 'is not heard', invited: 'may join'};

/** Who owns the log, in a sentence. @param {{cluster: any}} p */
export const Standing = ({cluster: c}) => html`<p>${!c.majority ? html`<strong>No contact with a majority</strong>${c.since && html` for <${Lasting} from=${c.since} />`}: nothing can be changed.`
  : c.owner ? html`<strong class="mono">${clean(c.owner)}</strong> owns the log${c.since && html`, for <${Lasting} from=${c.since} />`} (term ${number(c.term ?? 0)}).`
  : 'Nobody owns the log now; another server is about to.'}</p>${c.waits && html`<p class="small quiet">The server that you see cannot own the log yet; it waits for this: ${clean(c.waits)}.</p>`}`;

/** @param {{cluster: any, more?: (m: any) => any}} p more: what stands beside each */
export const Servers = ({cluster, more}) => html`<ul class="servers">${cluster.members.map((/** @type {any} */ m) => html`<li key=${m.server}>
  <span class="row"><span class="mono servers-name">${clean(m.server)}</span><${Mark} state=${signs[m.role] ?? 'unknown'}>${says[m.role] ?? m.role}</${Mark}>
    ${m.server === cluster.self && html`<span class="small quiet">the one that you see</span>`}</span>
  <span class="small quiet">${[
    m.address && clean(m.address),
    m.in_engine === 'learner' ? 'does not count for the majority yet' : m.in_engine === 'voter' && 'counts for the majority',
    m.leads && 'leads etcd',
    m.behind !== undefined && (m.behind ? `lacks ${count(m.behind, 'record')}` : 'lacks nothing'),
    m.version && `version ${clean(m.version)}`,
    m.trouble && clean(m.trouble),
    m.role === 'invited' && m.replaces && `in place of ${clean(m.replaces)}`,
  ].filter(Boolean).join(', ')}${m.seen && html`, heard <${When} at=${m.seen} />`}</span>
  ${more?.(m)}
</li>`)}</ul>`;
