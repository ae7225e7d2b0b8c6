// The first page, kept on the wall: what goes on, what needs a person, what is out of service, and who carries it.
import {html, useState} from '../vendor/preact.js';
import {href} from '../lib/place.js';
import {post} from '../lib/api.js';
import {useQuery} from '../lib/router.js';
import {useTopic} from '../lib/hub.js';
import {useLook} from '../lib/load.js';
import {fold, over} from '../lib/jobs.js';
import {count, number} from '../lib/words.js';
import {Page} from '../part/page.js';
import {JobRows} from '../part/jobrows.js';
import {JobFilter, filterOf} from '../part/jobfilter.js';
import {HostsOut} from '../part/hostsout.js';
import {Workers} from '../part/workers.js';
import {Servers, Standing} from '../part/servers.js';
import {Trouble} from '../part/trouble.js';
import {Control, useMay} from '../part/may.js';
import {Typed} from '../part/typed.js';
import {When} from '../part/when.js';

const recent = 20;
const most = 8; // hosts out of service that are shown here
const rows = 40; // jobs of a kind that are shown here: more nobody reads on a wall, and the page stays quick

/** @param {{jobs: import('../lib/jobs.js').Job[], filter: Record<string, string>}} p */
function HaltAll({jobs, filter}) {
  const may = useMay(filter.namespace ?? '')['job.halt'];
  const [asked, ask] = useState(false);
  const [said, say] = useState('');
  const going = jobs.filter((j) => ['waiting', 'running', 'paused'].includes(j.state) && !j.halting && (!filter.namespace || j.namespace === filter.namespace));
  const where = filter.namespace ? `of ${filter.namespace}` : 'of all namespaces';
  const running = going.reduce((n, j) => n + j.running, 0);
  return html`${going.length > 0 && html`<${Control} may=${may} class="stop" onClick=${() => { say(''); ask(true); }}>Halt all</${Control}>`}
    <span role="status" class="small">${said}</span>
    ${asked && html`<${Typed} title=${`Halt all jobs ${where}`} verb="Halt all" stop word="halt all" reason onClose=${() => ask(false)}
      onDo=${async (/** @type {string} */ reason) => { const done = await post('halt', {namespace: filter.namespace || undefined, reason: reason || undefined}); say(`Halted ${count(done.jobs?.length ?? 0, 'job')}.`); }}>
      <p>${count(going.length, 'job goes', 'jobs go')} on, with ${count(running, 'host')} in flight. Nothing new starts; what runs ends by itself. Each is resumed by itself.</p></${Typed}>`}`;
}

/** @param {{title: string, n?: number, to?: string, all?: string, children: any}} p */
const Section = ({title, n, to, all, children}) => html`<section class="card" aria-label=${title}>
  <div class="row"><h2>${title}</h2>${n !== undefined && html`<span class="quiet num">${number(n)}</span>`}${to && html`<a class="small" href=${to}>${all}</a>`}</div>${children}</section>`;

/** The first of many jobs, and a link to the others. @param {{jobs: import('../lib/jobs.js').Job[], label: string, to: string}} p */
const First = ({jobs, label, to}) => html`<${JobRows} jobs=${jobs.slice(0, rows)} label=${label} />
  ${jobs.length > rows && html`<p class="small"><a href=${to}>and ${count(jobs.length - rows, 'more')}</a></p>`}`;

export function Overview() {
  const [query] = useQuery();
  const filter = filterOf(query);
  const {state, connection} = useTopic('jobs', {...filter, limit: String(recent)}, fold);
  const out = useLook('hosts/out', {namespace: filter.namespace});
  const server = useLook('server'), workers = useLook('workers'), cluster = useLook(server.data?.cluster ? 'servers' : null);
  const jobs = state?.list ?? [];
  const open = jobs.filter((j) => !over(j));
  const needs = open.filter((j) => j.needs), goes = open.filter((j) => !j.needs && j.state !== 'waiting' && j.state !== 'halted'),
    waits = open.filter((j) => !needs.includes(j) && !goes.includes(j)), done = jobs.filter(over).slice(0, recent);
  const filtered = Object.keys(filter).length > 0;
  const unknown = out.data?.unknown ?? 0;
  return html`<${Page} title="Overview" connection=${connection} head=${html`<div class="overview-head row"><${HaltAll} jobs=${open} filter=${filter} /></div>`}>
    <${JobFilter} seen=${jobs} />
    ${state?.refused && html`<${Trouble} error=${new Error(state.refused === 403 ? 'You may see no jobs here. An administrator gives the right job.see.' : 'The server does not take this filter: look at the tag and the namespace.')} what="No jobs are shown" />`}
    ${state?.unreadable?.length > 0 && html`<p class="note">The jobs of ${state?.unreadable?.join(', ')} cannot be read now, and are not shown.</p>`}
    <div class="overview">
      <div class="overview-jobs stack">
        ${needs.length > 0 && html`<${Section} title="Needs a person" n=${needs.length}><${First} jobs=${needs} label="Jobs that need a person" to=${href('jobs', {...filter, state: 'halted,paused,running'})} /></${Section}>`}
        <${Section} title="Going on" n=${goes.length}>${goes.length ? html`<${First} jobs=${goes} label="Jobs that go on" to=${href('jobs', {...filter, state: 'running,paused'})} />`
          : html`<p class="quiet">${!state ? 'Asking the server.' : filtered ? 'No such job goes on.' : html`Nothing goes on. A job is made with <a href=${href('new')}>New job</a>, or <code>sluice run -t TARGETS -- COMMAND</code>.`}</p>`}</${Section}>
        ${waits.length > 0 && html`<${Section} title="Waiting" n=${waits.length}><${First} jobs=${waits} label="Jobs that wait" to=${href('jobs', {...filter, state: 'waiting'})} /></${Section}>`}
        ${done.length > 0 && html`<${Section} title="Recent" to=${href('jobs', filter)} all="All jobs"><${JobRows} jobs=${done} label="Jobs that are over" /></${Section}>`}
        ${state && !state.refused && !jobs.length && !filtered && html`<${Section} title="Begin">
          <p>There is no job to show yet.</p><ol class="overview-begin"><li>Say which hosts there are: <code>sluice fleet apply -f fleet.yaml</code></li><li>Run something on them: <code>sluice run -t all -- uptime</code></li></ol></${Section}>`}
      </div>
      <div class="overview-side stack">
        <${Section} title="Out of service" n=${out.data?.total} to=${(out.data?.total ?? 0) > 0 ? href('out', {namespace: filter.namespace}) : undefined} all=${unknown > 0 ? `All, ${count(unknown, 'outcome')} not known` : 'All'}>
          <${Trouble} error=${out.error?.status === 403 ? null : out.error} />
          ${out.data && (out.data.hosts.length ? html`<${HostsOut} hosts=${out.data.hosts.slice(0, most)} spaces=${!filter.namespace} />
            ${out.data.total > most && html`<p class="small quiet">and ${count(out.data.total - most, 'more')}</p>`}` : html`<p class="quiet">No host is out of service.</p>`)}</${Section}>
        ${workers.data && html`<${Section} title="Workers" n=${workers.data.workers.length} to=${href('workers')} all="All of them"><${Workers} workers=${workers.data.workers} /></${Section}>`}
        ${cluster.data && html`<${Section} title="Servers" n=${cluster.data.members.length} to=${href('servers')} all="All of them"><${Standing} cluster=${cluster.data} /><${Servers} cluster=${cluster.data} /></${Section}>`}
        ${server.data && html`<${Section} title="Server"><p>${server.data.ready ? 'Takes jobs.' : html`<strong>Takes no jobs:</strong> ${server.data.why}`}</p>
          <p class="small quiet">Version ${server.data.version}, started <${When} at=${server.data.since} /></p></${Section}>`}
      </div>
    </div>
  </${Page}>`;
}

