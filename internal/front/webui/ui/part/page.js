// A page: its title, where it belongs, and the line to the server.
import {html, useEffect} from '../vendor/preact.js';
import {Connection} from './connection.js';

/**
 * @param {{title: string, head?: any, up?: {href: string, text: string}, connection?: any, children: any}} p
 * head: what stands beside the title
 */
export function Page({title, head, up, connection, children}) {
  useEffect(() => { document.title = `${title} · Sluice`; }, [title]);
  return html`
    <header class="head">
      ${up && html`<p class="small"><a href=${up.href}>${up.text}</a></p>`}
      <div class="row"><h1 tabindex="-1" id="title">${title}</h1>${head}</div>
    </header>
    ${connection && html`<${Connection} connection=${connection} />`}
    ${children}`;
}
