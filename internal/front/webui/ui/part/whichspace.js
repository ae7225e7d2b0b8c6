// Which namespace a page is about, where its address does not say: the one that one may see, or a choice.
import {html, useEffect} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {go} from '../lib/router.js';
import {useLoad} from '../lib/load.js';
import {Page} from './page.js';
import {Trouble} from './trouble.js';

/** @param {{title: string, page: string}} p page: its path before the namespace; what the query says stays */
export function WhichSpace({title, page}) {
  const {data, error} = useLoad('namespaces');
  const list = /** @type {string[]|undefined} */ (data?.namespaces);
  const only = list && list.length < 2 ? list[0] ?? 'default' : '';
  const to = (/** @type {string} */ ns) => href(`${page}/${part(ns)}`) + location.search;
  useEffect(() => { if (only) go(to(only), {replace: true}); }, [only]);
  return html`<${Page} title=${title}>
    <${Trouble} error=${error} what="The namespaces are not shown" />
    ${list && !only && html`<section class="card" aria-label="Namespaces"><h2>In which namespace?</h2>
      <ul class="whichspace">${list.map((ns) => html`<li key=${ns}><a class="button" href=${to(ns)}>${ns}</a></li>`)}</ul></section>`}
  </${Page}>`;
}
