// The servers that share the log: who owns it, who has how much of it; to invite and remove them.
import {html, useState} from '../vendor/preact.js';
import {href, part} from '../lib/place.js';
import {post, del} from '../lib/api.js';
import {clean} from '../lib/clean.js';
import {moment} from '../lib/words.js';
import {useLook} from '../lib/load.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Servers, Standing} from '../part/servers.js';
import {Control, WhyNot, useMay} from '../part/may.js';
import {Dialog} from '../part/dialog.js';
import {Typed} from '../part/typed.js';
import {Copy} from '../part/copy.js';

/** @param {{members: any[], onClose: () => void, again: () => void}} p */
function Invite({members, onClose, again}) {
  const [name, setName] = useState(''), [old, setOld] = useState('');
  const [error, set] = useState(/** @type {any} */ (null));
  const [made, made_] = useState(/** @type {any} */ (null));
  const act = async (/** @type {Event} */ e) => {
    e.preventDefault();
    set(null);
    try {
      made_(await post(`servers/${part(name.trim())}/invite`, {replaces: old || undefined}));
      again();
    } catch (err) { set(err); }
  };
  if (made) {
    return html`<${Dialog} title=${`${made.server} is invited`} onClose=${onClose}>
      <p>Put this token into a file on its machine. It is shown this once, and good for one server, until ${moment(made.expires)}.</p>
      <p><code>${made.token}</code> <${Copy} text=${made.token} label="the token" /></p>
      <p>Then start it there, with its own address: <code>sluice server --cluster HOST:PORT --name ${made.server} --join FILE</code></p>
      ${old && html`<p>When it comes, ${clean(old)} is removed. Until then nothing changes.</p>`}
      <div><button type="button" class="main" onClick=${onClose}>Done</button></div></${Dialog}>`;
  }
  return html`<${Dialog} title="Invite a server" onClose=${onClose}><form class="stack" onSubmit=${act}>
    <p>It gets a token with which a server on another machine can join.</p>
    <label class="stack">Name <input required value=${name} autocomplete="off" spellcheck="false" onInput=${(/** @type {any} */ e) => setName(e.currentTarget.value)} /></label>
    <label class="stack">In place of <select value=${old} onChange=${(/** @type {any} */ e) => setOld(e.currentTarget.value)}><option value="">nobody</option>
      ${members.filter((m) => m.role !== 'invited').map((m) => html`<option key=${m.server} value=${m.server}>${clean(m.server)}</option>`)}</select></label>
    <${Trouble} error=${error} what="It is not invited" />
    <div class="row"><button type="submit" class="main">Invite</button><button type="button" onClick=${onClose}>Leave it</button></div></form></${Dialog}>`;
}

/** What holds when a member is gone, in sentences. @param {any} c @param {any} gone */
function after(c, gone) {
  if (gone.role === 'invited') return ['It has not joined: its invitation is withdrawn.'];
  const left = c.members.filter((/** @type {any} */ m) => m !== gone && m.role !== 'invited');
  const heard = left.filter((/** @type {any} */ m) => m.role !== 'lost').length, needed = Math.floor(left.length / 2) + 1;
  const out = ['It is refused from now on, and has to be invited anew.'];
  if (gone.server === c.owner) out.push('It owns the log: another server takes it over.');
  if (left.length === 1) out.push('One server is left: while it is away nothing goes on, and what it loses is lost.');
  else if (left.length === 2) out.push('Two servers are left, and both must run: without either nothing can be changed.');
  else if (left.length) out.push(`${left.length} servers are left, of which ${needed} must run.`);
  if (left.length && heard < needed) out.push(`Only ${heard} of them are heard now: then nothing can be changed until another one is back.`);
  return out;
}

export function ServersPage() {
  const may = useMay('');
  const {data, error, again} = useLook(may['server.see']?.may ? 'servers' : null);
  const [gone, remove] = useState(/** @type {any} */ (null));
  const [inviting, invite] = useState(false);
  const [said, say] = useState('');
  const run = may['server.run'];
  return html`<${Page} title="Servers" head=${data && html`<${Control} may=${run} onClick=${() => invite(true)}>Invite a server</${Control}>`} up=${{href: href(''), text: 'Overview'}}>
    <${WhyNot} of=${[may['server.see']]} />
    <${Trouble} error=${error} />
    <p role="status" class=${said ? '' : 'unseen'}>${said}</p>
    ${data && html`<section class="card" aria-label="Servers"><${Standing} cluster=${data} /><${Servers} cluster=${data} more=${(/** @type {any} */ m) => html`<span class="servers-acts">
      <${Control} may=${run} onClick=${() => remove(m)}>Remove<span class="unseen"> ${clean(m.server)}</span></${Control}></span>`} />
      ${data.kept_halts?.map((/** @type {any} */ h) => html`<p key=${h.id} class="note">${clean(h.server)} keeps a halt of ${h.job ? `the job ${clean(h.job)}` : h.namespace ? `all jobs of ${clean(h.namespace)}` : 'all jobs'}, for which ${clean(h.by)} asked at ${moment(h.at)}: it is in force when that server has contact with a majority.</p>`)}</section>`}
    ${inviting && html`<${Invite} members=${data?.members ?? []} onClose=${() => invite(false)} again=${again} />`}
    ${gone && data && html`<${Typed} title=${`Remove ${clean(gone.server)}`} verb="Remove" stop word=${gone.server} onClose=${() => remove(null)}
      onDo=${async () => { await del(`servers/${part(gone.server)}`); say(`${clean(gone.server)}: done.`); again(); }}>${after(data, data.members.find((/** @type {any} */ m) => m.server === gone.server) ?? gone).map((line) => html`<p key=${line}>${line}</p>`)}</${Typed}>`}
  </${Page}>`;
}
