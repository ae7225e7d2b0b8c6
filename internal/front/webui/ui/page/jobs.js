// All jobs, newest first, a page at a time.
import {html} from '../vendor/preact.js';
import {href} from '../lib/place.js';
import {useQuery} from '../lib/router.js';
import {useLoad} from '../lib/load.js';
import {Page} from '../part/page.js';
import {JobRows} from '../part/jobrows.js';
import {JobFilter, filterOf} from '../part/jobfilter.js';
import {Trouble} from '../part/trouble.js';

export function Jobs() {
  const [query] = useQuery();
  const filter = filterOf(query), cursor = query.get('cursor') ?? '';
  const {data, error, loading} = useLoad('jobs', {...filter, limit: 50, cursor});
  return html`<${Page} title="Jobs" up=${{href: href(''), text: 'Overview'}}>
    <${JobFilter} seen=${data?.jobs ?? []} />
    <${Trouble} error=${error} what="The jobs are not shown" />
    ${data && html`<section class="card" aria-label="Jobs">${data.jobs.length ? html`<${JobRows} jobs=${data.jobs} label="Jobs" />` : html`<p class="quiet">There is no such job.</p>`}</section>`}
    <nav class="row" aria-label="Pages">${cursor && html`<a href=${href('jobs', filter)}>Newest</a>`}${data?.next && html`<a href=${href('jobs', {...filter, cursor: data.next})} aria-disabled=${loading ? 'true' : null}>Older</a>`}</nav>
  </${Page}>`;
}
