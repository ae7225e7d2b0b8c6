// The UI: which page an address means, and the frame around it.
import {html, render, useState, useEffect, useRef, useErrorBoundary} from './vendor/preact.js';
import {follow, usePlace} from './lib/router.js';
import {href} from './lib/place.js';
import {begin, useSession} from './lib/session.js';
import {Who} from './part/who.js';
import {Lapsed} from './part/lapsed.js';
import {Stale} from './part/stale.js';
import {Search} from './part/search.js';

const signIn = () => import('./page/signin.js');

/**
 * Pages by path. :name is a part, decoded; the page's module is loaded when it is first wanted.
 * @type {[string, () => Promise<any>, string][]}
 */
const pages = [
  ['', () => import('./page/overview.js'), 'Overview'],
  ['jobs', () => import('./page/jobs.js'), 'Jobs'],
  ['jobs/:id', () => import('./page/job.js'), 'Job'],
  ['jobs/:id/hosts/:host', () => import('./page/jobhost.js'), 'JobHost'],
  ['jobs/:id/configuration', () => import('./page/configuration.js'), 'Configuration'],
  ['hosts/:namespace/:host', () => import('./page/host.js'), 'Host'],
  ['out', () => import('./page/out.js'), 'Out'],
  ['workers', () => import('./page/workers.js'), 'WorkersPage'],
  ['servers', () => import('./page/servers.js'), 'ServersPage'],
  ['releases', () => import('./page/releases.js'), 'Releases'],
  ['releases/:ns/:app/:env', () => import('./page/appin.js'), 'AppIn'],
  ['fleet', () => import('./page/fleet.js'), 'Fleet'],
  ['fleet/:ns', () => import('./page/fleet.js'), 'Fleet'],
  ['new', () => import('./page/new.js'), 'New'],
  ['new/:ns', () => import('./page/new.js'), 'New'],
  ['users', () => import('./page/users.js'), 'Users'],
  ['users/:name', () => import('./page/user.js'), 'User'],
  ['audit', () => import('./page/audit.js'), 'Audit'],
  ['signin', signIn, 'SignIn'],
];

/** What the header leads to. @type {[string, string][]} */
const nav = [['', 'Overview'], ['new', 'New job'], ['releases', 'Releases'], ['fleet', 'Fleet'], ['workers', 'Workers'], ['users', 'Users'], ['audit', 'Audit']];

const missing = () => import('./page/missing.js');

/** @param {string} path @returns {{load: () => Promise<any>, name: string, props: Record<string, string>}} */
function find(path, out = false) {
  if (out) return {load: signIn, name: 'SignIn', props: {}};
  const parts = path.split('/');
  for (const [pattern, load, name] of pages) {
    const want = pattern.split('/');
    if (want.length !== parts.length || !want.every((w, i) => w.startsWith(':') ? parts[i] : w === parts[i])) continue;
    /** @type {Record<string, string>} */
    const props = {};
    try {
      want.forEach((w, i) => { if (w.startsWith(':')) props[w.slice(1)] = decodeURIComponent(parts[i]); });
    } catch { continue; }
    return {load, name, props};
  }
  return {load: missing, name: 'Missing', props: {}};
}

/** @type {Map<Function, any>} */
const loaded = new Map();

/** The page of this address; to sign in, where nobody is. @param {{place: {path: string}, out: boolean}} p */
function Shown({place, out}) {
  const {load, name, props} = find(place.path, out);
  const [, drawn] = useState(0);
  const [error, reset] = useErrorBoundary();
  const main = useRef(/** @type {HTMLElement|null} */ (null));
  const first = useRef(true);
  useEffect(() => {
    if (loaded.has(load)) return;
    load().then((m) => { loaded.set(load, m[name]); drawn((n) => n + 1); },
      () => { // most likely there is a new version, whose files are elsewhere
        if (sessionStorage.getItem('sluice-again') !== place.path) { sessionStorage.setItem('sluice-again', place.path); location.reload(); }
      });
  }, [load]);
  const There = loaded.get(load);
  useEffect(() => {
    if (!There) return;
    sessionStorage.removeItem('sluice-again');
    if (first.current) { first.current = false; return; } // a page that was just opened has the browser's own focus
    const h = main.current?.querySelector('h1'), at = document.activeElement;
    const taken = at !== main.current && main.current?.contains(at); // who was quick is in a field of the new page, and stays there
    if (h instanceof HTMLElement && !taken) h.focus({preventScroll: true});
    scrollTo(0, 0);
    reset();
  }, [There, place.path]);
  return html`<main id="main" ref=${main} tabindex="-1">
    ${error ? html`<div class="trouble" role="alert"><p><strong>This page has a fault:</strong> ${String(error.message ?? error)}</p><p><a href=${href(place.path)} onClick=${() => reset()}>Open it again</a></p></div>`
      : There && html`<${There} key=${place.path} ...${props} />`}
  </main>`;
}

function App() {
  const place = usePlace();
  const session = useSession();
  const out = session.at === 'out';
  return html`<div class="frame">
    <a class="skip" href="#main">To the content</a>
    <header class="top">
      <a class="home" href=${href('')}>Sluice</a>
      ${!out && html`<nav aria-label="Main"><ul>${nav.map(([to, text]) => html`<li key=${to}><a href=${href(to)} aria-current=${place.path === to || to && place.path.startsWith(`${to}/`) ? 'page' : null}>${text}</a></li>`)}</ul></nav>`}
      <div class="end">${!out && html`<${Search} />`}${session.me && !out && html`<${Who} me=${session.me} />`}</div>
    </header>
    <div class="content">
      ${session.at === 'lapsed' && html`<${Lapsed} />`}
      ${!out && html`<${Stale} />`}
      <${Shown} place=${place} out=${out} />
    </div>
  </div>`;
}

void begin();
follow();
const at = /** @type {HTMLElement} */ (document.getElementById('app'));
at.replaceChildren();
render(html`<${App} />`, at);
