// One job, live: what it is, where it stands, why it waits, and all of its hosts.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {clean} from '../lib/clean.js';
import {count, number, moment} from '../lib/words.js';
import {useJob, useModel} from '../lib/job.js';
import {ways} from '../lib/group.js';
import {standing, over} from '../lib/jobs.js';
import {Page} from '../part/page.js';
import {Mark} from '../part/mark.js';
import {When, Lasting} from '../part/when.js';
import {Trouble} from '../part/trouble.js';
import {Copy} from '../part/copy.js';
import {Controls} from '../part/controls.js';
import {Waits} from '../part/waits.js';
import {Lanes} from '../part/lanes.js';
import {Gauges} from '../part/gauges.js';
import {Grid} from '../part/grid.js';
import {HostList} from '../part/hostlist.js';
import {Legend} from '../part/legend.js';
import {Timeline} from '../part/timeline.js';
import {Failures} from '../part/failures.js';
import {Groups} from '../part/groups.js';
import {Release} from '../part/release.js';
import {RollBack} from '../part/rollback.js';
import {useMay} from '../part/may.js';

/** @param {{model: import('../lib/job.js').Model}} p */
function Head({model}) {
  useModel(model, 'standing', 'board');
  const {job: j, ...b} = model.board;
  return html`<dl class="facts job-facts">
    <dt>who</dt><dd><a href=${href(`users/${part(j.by)}`)}>${clean(j.by)}</a> in <a href=${href('', {namespace: j.namespace})}>${j.namespace}</a></dd>
    <dt>where</dt><dd>${count(j.targets, 'host')}${b.expression && html`: <code>${clean(b.expression)}</code>`}${b.read_only && ', read-only'}</dd>
    <dt>since</dt><dd><span title=${moment(j.submitted)}><${When} at=${j.submitted} /></span>${j.started && html`, ${over(j) ? 'took' : 'goes on for'} <${Lasting} from=${b.started ?? j.started} to=${j.ended} />`}</dd>
    <dt>job</dt><dd><span class="mono">${j.id}</span> <${Copy} text=${j.id} label="the id of the job" /> <a href=${href(`new/${part(j.namespace)}`, {like: j.id})}>Run again</a></dd>
    ${j.undoes && html`<dt>undoes</dt><dd>job <a class="mono" href=${href(`jobs/${part(j.undoes)}`)}>${j.undoes}</a>, which ended badly</dd>`}
    ${j.plan_digest && html`<dt>plan</dt><dd class="mono small">${j.plan_digest}</dd>`}
    ${j.budget >= 0 && html`<dt>budget</dt><dd>${number(j.failures)} of ${count(j.budget, 'failure')} used</dd>`}
  </dl>`;
}

/** @param {{model: import('../lib/job.js').Model, id: string}} p */
function Hosts({model, id}) {
  const [query, change] = useQuery();
  useModel(model, 'board');
  const by = query.get('by') ?? 'stage', list = query.get('as') === 'list', shown = query.getAll('state');
  const [text, type] = useState(query.get('host') ?? '');
  const w = ways(model.board);
  return html`<section class="card job-hosts" aria-label="Hosts">
    <div class="row"><h2>Hosts</h2>
      <label class="small">by <select value=${by} onChange=${(/** @type {any} */ e) => change({by: e.currentTarget.value === 'stage' ? null : e.currentTarget.value || 'nothing'})}>${w.map((x) => html`<option key=${x.by} value=${x.by || 'nothing'}>${x.text}</option>`)}</select></label>
      <label class="small">find <input type="search" class="job-find" autocomplete="off" spellcheck="false" value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} onChange=${() => change({host: text || null})} /></label>
      <span class="row job-as" role="group" aria-label="Shown as"><button type="button" aria-pressed=${!list ? 'true' : 'false'} onClick=${() => change({as: null})}>Grid</button><button type="button" aria-pressed=${list ? 'true' : 'false'} onClick=${() => change({as: 'list'})}>List</button></span></div>
    <${Legend} model=${model} shown=${shown} onShow=${(/** @type {string[]} */ s) => change({state: s})} />
    ${list ? html`<${HostList} model=${model} id=${id} shown=${shown} text=${text} />` : html`<${Grid} model=${model} id=${id} by=${by === 'nothing' ? '' : by} shown=${shown} text=${text} />`}
  </section>`;
}

/** The page's state and controls, beside its title. @param {{model: import('../lib/job.js').Model}} p */
function State({model}) {
  useModel(model, 'standing', 'board');
  return html`<${Mark} state=${standing(model.board.job)} />`;
}

/** @param {{model: import('../lib/job.js').Model}} p */
function Acts({model}) {
  useModel(model, 'standing', 'board');
  return html`<${Controls} job=${model.board.job} page />`;
}

/** What changes whenever an attempt begins or ends. @param {any} j */
const version = (j) => JSON.stringify([j.counts, j.running]);

/** Where something went wrong. @param {{model: import('../lib/job.js').Model, id: string}} p */
function Wrong({model, id}) {
  useModel(model, 'standing', 'board');
  const j = model.board.job, n = j.counts;
  if (!(n.failed || n.timed_out || n.unreachable || n.unknown || n.cancelled)) return null;
  return html`<section class="card" aria-label="Failures"><h2>Failures</h2><${Failures} job=${id} version=${version(j)} /></section>`;
}

/** What hosts printed, where somebody wants to know: to read it is noted. @param {{model: import('../lib/job.js').Model, id: string}} p */
function Outputs({model, id}) {
  const [query, change] = useQuery();
  useModel(model, 'standing', 'board');
  const open = query.get('outputs') !== null || query.get('diff') !== null;
  return html`<section class="card" aria-label="Outputs"><div class="row"><h2>Outputs</h2>
    <button type="button" aria-expanded=${open ? 'true' : 'false'} onClick=${() => change({outputs: open ? null : 'all', diff: null, base: null})}>${open ? 'Hide outputs' : 'Show outputs'}</button></div>
    ${open && html`<${Groups} job=${id} version=${version(model.board.job)} />`}
  </section>`;
}

/** What is deployed, and the way back. @param {{model: import('../lib/job.js').Model}} p */
function Deploys({model}) {
  useModel(model, 'board');
  const {job, action} = model.board;
  const may = useMay(job.namespace, model.hosts?.names.slice(0, 100))['job.submit'];
  return html`<section class="card" aria-label="Release"><div class="row"><h2>Release</h2>${action === 'deploy' && html`<${RollBack} job=${job.id} may=${may} />`}</div><${Release} id=${job.id} /></section>`;
}

/** @param {{id: string}} p */
export function Job({id}) {
  const {model, connection} = useJob(id);
  const [query, change] = useQuery();
  useModel(model, 'board');
  const b = model.board;
  return html`<${Page} title=${b ? clean(b.job.command) : id} up=${{href: href(''), text: 'Overview'}} connection=${connection} head=${b && html`<${State} model=${model} />`}>
    ${model.refused && html`<${Trouble} error=${Object.assign(new Error(model.refused.detail ?? 'the server does not show it'), {hint: model.refused.hint})} what="The job is not shown" />`}
    ${b && model.hosts && html`
      <${Acts} model=${model} />
      <${Waits} model=${model} />
      <${Wrong} model=${model} id=${b.job.id} />
      <div class="job">
        <div class="job-main stack">
          ${['deploy', 'rollback'].includes(b.action) && html`<${Deploys} model=${model} />`}
          <section class="card" aria-label="Stages"><h2>Stages</h2><${Lanes} model=${model} /></section>
          <${Hosts} model=${model} id=${b.job.id} />
          <section class="card" aria-label="Timeline"><h2>Timeline</h2><${Timeline} model=${model} id=${b.job.id} group=${query.get('group') ?? ''} onGroup=${(/** @type {string} */ g) => change({group: g || null})} /></section>
          <${Outputs} model=${model} id=${b.job.id} />
        </div>
        <div class="job-side stack">
          <section class="card" aria-label="The job"><h2>The job</h2><${Head} model=${model} /></section>
          <section class="card" aria-label="Room"><h2>Room</h2><${Gauges} model=${model} /></section>
        </div>
      </div>`}
  </${Page}>`;
}
