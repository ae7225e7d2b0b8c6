// What is different between two versions of a fleet: by what it means, and by its text.
import {html} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {go, useQuery} from '../lib/router.js';
import {useLoad} from '../lib/load.js';
import {count, number} from '../lib/words.js';
import {Trouble} from './trouble.js';

const signs = /** @type {Record<string, string>} */ ({added: '+', removed: '−', changed: '~', new: '+', gone: '−', same: ' '});

/** @param {{ns: string, list: any[]}} p */
export function FleetDiff({ns, list}) {
  const [query] = useQuery();
  const to = query.get('to') ?? '';
  const from = query.get('from') ?? '';
  const first = list.length < 2;
  const {data: d, error} = useLoad(first ? null : `namespaces/${part(ns)}/fleet/diff`, {from, to});
  if (first) return html`<p class="quiet">There is one version only.</p>`;
  return html`<div class="stack fleetdiff">
    <${Compare} ns=${ns} list=${list} from=${d ? d.from.version : Number(from)} to=${d ? d.to.version : Number(to)} />
    <${Trouble} error=${error} what="The differences are not shown" />
    ${d && html`<section class="stack"><h2>What it means</h2><${Meaning} d=${d} /></section>
    <section class="stack"><h2>What is written</h2>${d.files?.length ? d.files.map((/** @type {any} */ f) => html`<${File} key=${f.path} file=${f} />`) : html`<p class="quiet">The files are the same.</p>`}</section>`}
  </div>`;
}

/** Which two versions are compared. @param {{ns: string, list: any[], from?: number, to?: number}} p */
export function Compare({ns, list, from, to}) {
  const newest = list[list.length - 1].version;
  /** @param {SubmitEvent} e */
  const compare = (e) => {
    e.preventDefault();
    const f = new FormData(/** @type {HTMLFormElement} */ (e.currentTarget));
    go(href(`fleet/${part(ns)}`, {from: String(f.get('from')), to: String(f.get('to'))}));
  };
  const options = [...list].reverse().slice(0, 500).map((/** @type {any} */ v) => v.version);
  return html`<form class="row fleetdiff-compare" onSubmit=${compare} key=${`${from} ${to}`}>
    <label>From version <select name="from">${options.map((v) => html`<option key=${v} value=${v} selected=${v === (from || newest - 1)}>${v}</option>`)}</select></label>
    <label>to version <select name="to">${options.map((v) => html`<option key=${v} value=${v} selected=${v === (to || newest)}>${v}</option>`)}</select></label>
    <button type="submit">Compare</button>
  </form>`;
}

/** @param {{d: any}} p */
function Meaning({d}) {
  const none = !d.settings && !d.added.count && !d.removed.count && !d.reordered && !d.ssh && !d.tags && !d.constraints && !d.sequences;
  if (none) return html`<p class="quiet">Nothing: the hosts and rules are the same.</p>`;
  return html`<ul class="fleetdiff-list">
    ${d.added.count > 0 && html`<${Item} kind="added">${count(d.added.count, 'host')}: <${Which} hosts=${d.added} /></${Item}>`}
    ${d.removed.count > 0 && html`<${Item} kind="removed">${count(d.removed.count, 'host')}: <${Which} hosts=${d.removed} /></${Item}>`}
    ${d.settings?.map((/** @type {string} */ s) => html`<${Item} key=${s} kind="changed">${s}</${Item}>`)}
    ${d.reordered && html`<${Item} kind="changed">the order of the hosts</${Item}>`}
    ${d.ssh?.map((/** @type {any} */ s, /** @type {number} */ i) => html`<${Item} key=${i} kind="changed">ssh of <${Which} hosts=${s.hosts} />: ${s.now || 'not set'}, was ${s.was || 'not set'}</${Item}>`)}
    ${d.constraints?.map((/** @type {any} */ l) => html`<${List} key=${l.name} what="constraint" list=${l} />`)}
    ${d.sequences?.map((/** @type {any} */ l) => html`<${List} key=${l.name} what="sequence" list=${l} />`)}
    ${d.tags?.map((/** @type {any} */ c) => html`<${Item} key=${c.name} kind=${c.kind}>tag <code>${c.name}</code><${Change} c=${c} /></${Item}>`)}
  </ul>${d.more ? html`<p class="small quiet">${count(d.more, 'more change')}.</p>` : null}`;
}

/** @param {{kind: string, children?: any}} p */
const Item = ({kind, children}) => html`<li data-kind=${kind}><span class="fleetdiff-sign" aria-hidden="true">${signs[kind]}</span><div><span class="unseen">${kind}: </span>${children}</div></li>`;

/** @param {{what: string, list: any}} p */
function List({what, list}) {
  return html`<${Item} kind=${list.kind}>${what} <code>${list.name}</code>
    ${list.now && html`<p class="small">order: ${list.now.join(' → ')}; was ${list.was?.join(' → ')}</p>`}
    ${list.parts && html`<ul class="fleetdiff-list">${list.parts.map((/** @type {any} */ c) => html`<${Item} key=${c.name} kind=${c.kind}><code>${c.name}</code><${Change} c=${c} /></${Item}>`)}</ul>`}
  </${Item}>`;
}

/** What became of one thing, after its name. @param {{c: any}} p */
function Change({c}) {
  const said = [];
  if (c.kind === 'changed' && c.now) said.push(html`${c.now}, was ${c.was}`);
  else if (c.now || c.was) said.push(c.now || c.was);
  if (c.capacity !== undefined && c.capacity_was !== undefined) said.push(html`<strong>capacity ${number(c.capacity)}, was ${number(c.capacity_was)}</strong>`);
  else if (c.capacity !== undefined) said.push(html`capacity ${number(c.capacity)}`);
  if (c.added?.count) said.push(html`${c.kind === 'changed' ? 'with ' : ''}<${Which} hosts=${c.added} />`);
  if (c.removed?.count) said.push(html`${c.kind === 'changed' ? 'without ' : ''}<${Which} hosts=${c.removed} />`);
  return said.map((s, i) => html`<span key=${i}>${i ? '; ' : ': '}${s}</span>`);
}

/** @param {{hosts: any}} p */
const Which = ({hosts}) => html`<code>${hosts.text}</code>${hosts.more ? ` and ${number(hosts.more)} more` : ''}`;

/** @param {{file: any}} p */
function File({file}) {
  return html`<section class="stack" aria-label=${file.path}><h3><code>${file.path}</code> <span class="small quiet">${file.kind}</span></h3>
    <div class="fleetdiff-text" tabindex="0" role="region" aria-label=${`Differences of ${file.path}`}><table>
      ${file.runs.map((/** @type {any[]} */ run, /** @type {number} */ i) => html`<tbody key=${i}>${run.map((l, k) => html`<tr key=${k} data-kind=${l.kind}>
        <td class="fleetdiff-number">${l.was || ''}</td><td class="fleetdiff-number">${l.now || ''}</td>
        <td class="fleetdiff-sign"><span aria-hidden="true">${signs[l.kind]}</span>${l.kind !== 'same' && html`<span class="unseen">${l.kind}</span>`}</td><td><pre>${l.text}</pre></td></tr>`)}</tbody>`)}
    </table></div>${file.more ? html`<p class="small quiet">${count(file.more, 'more line')}.</p>` : null}</section>`;
}
