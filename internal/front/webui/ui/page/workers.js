// Who carries attempts out: load, health, pools; to drain, take back, remove and invite them.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {post, del} from '../lib/api.js';
import {count, moment} from '../lib/words.js';
import {useLook} from '../lib/load.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Workers} from '../part/workers.js';
import {Control, WhyNot, useMay} from '../part/may.js';
import {Dialog} from '../part/dialog.js';
import {Typed} from '../part/typed.js';
import {Copy} from '../part/copy.js';

/** @param {{onClose: () => void, again: () => void}} p */
function Invite({onClose, again}) {
  const [name, setName] = useState(''), [pools, setPools] = useState('');
  const [error, set] = useState(/** @type {any} */ (null));
  const [made, made_] = useState(/** @type {any} */ (null));
  const act = async (/** @type {Event} */ e) => {
    e.preventDefault();
    set(null);
    try {
      made_(await post(`workers/${part(name.trim())}/invite`, {pools: pools.split(/[\s,]+/).filter(Boolean)}));
      again();
    } catch (err) { set(err); }
  };
  if (made) {
    const typed = `sluice worker --server HOST:PORT --enrol ${made.token}`;
    return html`<${Dialog} title=${`${made.worker} is invited`} onClose=${onClose}><p>Type this on its machine, with the address where workers come to. The token is shown this once, can be used once, and until ${moment(made.expires)}.</p>
      <p><code>${typed}</code> <${Copy} text=${typed} label="the command line" /></p><div><button type="button" class="main" onClick=${onClose}>Done</button></div></${Dialog}>`;
  }
  return html`<${Dialog} title="Invite a worker" onClose=${onClose}><form class="stack" onSubmit=${act}>
    <p>It gets a token with which a worker on another machine can enrol, once.</p>
    <label class="stack">Name <input required value=${name} autocomplete="off" spellcheck="false" onInput=${(/** @type {any} */ e) => setName(e.currentTarget.value)} /></label>
    <label class="stack">Pools, if not the default one <input value=${pools} autocomplete="off" spellcheck="false" onInput=${(/** @type {any} */ e) => setPools(e.currentTarget.value)} /></label>
    <${Trouble} error=${error} what="It is not invited" />
    <div class="row"><button type="submit" class="main">Invite</button><button type="button" onClick=${onClose}>Leave it</button></div></form></${Dialog}>`;
}

/** What each act does, said before. @type {Record<string, {title: (w: string) => string, verb: string, says: (w: any) => string, stop?: boolean, word?: boolean, path: string}>} */
const acts = {
  drain: {title: (w) => `Drain ${w}`, verb: 'Drain', path: 'drain', says: (w) => `It gets nothing new. ${w.running ? `${count(w.running, 'attempt')} that it has ${w.running === 1 ? 'ends' : 'end'} there.` : 'It has nothing now.'}`},
  undrain: {title: (w) => `Take ${w} back`, verb: 'Take back', path: 'undrain', says: (w) => `It gets attempts again, up to ${w.limit} at once.`},
  remove: {title: (w) => `Remove ${w}`, verb: 'Remove', stop: true, word: true, path: '', says: (w) => `It is refused from now on, and has to be invited anew. ${w.running ? `${count(w.running, 'attempt')} that it has ${w.running === 1 ? 'is' : 'are'} given to others, which ask the hosts when its lease is over.` : 'It has nothing now.'}`},
};

export function WorkersPage() {
  const may = useMay('');
  const {data, error, again} = useLook(may['server.see']?.may ? 'workers' : null);
  const [asked, ask] = useState(/** @type {{act: string, w: any}|null} */ (null));
  const [inviting, invite] = useState(false);
  const [said, say] = useState('');
  const run = may['server.run'];
  const button = (/** @type {string} */ act, /** @type {any} */ w) => html`<${Control} may=${run} onClick=${() => ask({act, w})}>${acts[act].verb}<span class="unseen"> ${w.worker}</span></${Control}>`;
  const a = asked && acts[asked.act];
  return html`<${Page} title="Workers" head=${html`<${Control} may=${run} onClick=${() => invite(true)}>Invite a worker</${Control}>`} up=${{href: href(''), text: 'Overview'}}>
    <${WhyNot} of=${[may['server.see']]} />
    <${Trouble} error=${error} />
    <p role="status" class=${said ? '' : 'unseen'}>${said}</p>
    ${data && html`<section class="card" aria-label="Workers"><${Workers} workers=${data.workers} more=${(/** @type {any} */ w) => w.worker !== 'embedded' && html`<span class="workers-acts">
      ${w.health === 'draining' ? button('undrain', w) : w.health !== 'invited' && button('drain', w)}${button('remove', w)}</span>`} /></section>`}
    ${data && !data.workers.length && html`<p class="quiet">There are none: no job can go on. Invite one, or start the server without <code>--no-worker</code>.</p>`}
    ${inviting && html`<${Invite} onClose=${() => invite(false)} again=${again} />`}
    ${asked && a && html`<${Typed} title=${a.title(asked.w.worker)} verb=${a.verb} stop=${a.stop} word=${a.word ? asked.w.worker : undefined} onClose=${() => ask(null)}
      onDo=${async () => { const p = `workers/${part(asked.w.worker)}`; await (a.path ? post(`${p}/${a.path}`) : del(p)); say(`${asked.w.worker}: done.`); again(); }}><p>${a.says(asked.w)}</p></${Typed}>`}
  </${Page}>`;
}
