// Who is not signed in: how to, and then on to where one wanted to go. It stands in the place of any page, and at signin.
import {html} from '../vendor/preact.js';
import {pages} from '../lib/place.js';
import {go, path} from '../lib/router.js';
import {Page} from '../part/page.js';
import {Signing} from '../part/signing.js';

/** A place below the UI, or '' for whatever leads elsewhere. @param {string} back */
function own(back) {
  try {
    const to = new URL(back, pages);
    return to.origin === pages.origin && to.pathname.startsWith(pages.pathname) && !/^[/\\]/.test(back) ? back : '';
  } catch { return ''; }
}

export function SignIn() {
  const here = path() === 'signin';
  const query = new URLSearchParams(here ? location.search : '');
  const back = here ? own(query.get('back') ?? '') : location.href.slice(pages.href.length);
  return html`<div class="signin card"><${Page} title="Sign in">
    ${!here && back && html`<p class="quiet">You come to the page that you wanted then.</p>`}
    <${Signing} back=${back} wrong=${query.get('wrong') ?? ''} name=${query.get('name') ?? ''}
      done=${() => { if (here) go(new URL(back || '.', pages).href.slice(location.origin.length), {replace: true}); }} />
  </${Page}></div>`;
}
