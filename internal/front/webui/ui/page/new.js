// A new job: which hosts, what is to run, how; then the plan as a picture, a rehearsal, the same as a command, and Run.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {ask, post, Problem} from '../lib/api.js';
import {href, part} from '../lib/place.js';
import {go, useQuery} from '../lib/router.js';
import {count} from '../lib/words.js';
import {clean} from '../lib/clean.js';
import {useAsking, useLoad} from '../lib/load.js';
import {again, empty, keep, kept, missing, newID, putScript, secrets, submission} from '../lib/draft.js';
import {Page} from '../part/page.js';
import {Trouble} from '../part/trouble.js';
import {Copy} from '../part/copy.js';
import {Typed} from '../part/typed.js';
import {WhichSpace} from '../part/whichspace.js';
import {Expression} from '../part/expression.js';
import {JobOptions} from '../part/joboptions.js';
import {Plan} from '../part/plan.js';
import {Rehearsal} from '../part/rehearsal.js';
import {Control, useMay} from '../part/may.js';
import {Release} from '../part/release.js';
import {lacking, stays} from '../lib/frozen.js';

/** @param {{ns?: string}} p */
export const New = ({ns}) => ns ? html`<${NewIn} ns=${ns} />` : html`<${WhichSpace} title="New job" page="new" />`;

/** @param {{ns: string}} p */
function NewIn({ns}) {
  const [query] = useQuery();
  const [draft, setDraft] = useState(() => kept().draft ?? empty(query.get('targets') ?? ''));
  const [id, setID] = useState(() => kept().id ?? newID());
  const [sent, setSent] = useState(() => Boolean(kept().sent));
  const [back] = useState(() => Boolean(kept().draft)); // what was typed is here already
  const asked = query.get('like') ?? '';
  const before = useLoad(asked && !back ? `jobs/${part(asked)}/request` : null);
  useEffect(() => { if (before.data) setDraft(again(before.data, asked)); }, [before.data]);
  useEffect(() => { // browsers refuse to keep it at every key
    const now = () => keep({draft, id, sent});
    const timer = setTimeout(now, 250);
    addEventListener('pagehide', now);
    return () => { clearTimeout(timer); removeEventListener('pagehide', now); };
  }, [draft, id, sent]);
  // What was sent before may be there already: the page was loaded again, or come back to, or the answer was lost.
  const [look, setLook] = useState(sent);
  const there = useLoad(look ? `jobs/${id}` : null);
  const unsent = () => { setSent(false); setLook(false); keep({draft, id, sent: false}); };
  useEffect(() => { if (there.error?.status === 404) unsent(); }, [there.error]);

  const want = submission(ns, draft);
  const about = JSON.stringify(want);
  const frozen = useLoad(draft.kind === 'release' && draft.from ? `jobs/${part(draft.from)}/release` : null);
  const all = Boolean(draft.release?.config); // each host is looked at: whether it has a configuration
  const plan = useAsking(want.targets ? async (signal) => (await ask('POST', 'plan', {query: {names: all ? 100000 : 8}, body: want, signal})).json() : null, about, 200);
  const p = plan.error ? undefined : plan.data;
  /** @param {any} with_ */
  const change = (with_) => setDraft((/** @type {any} */ was) => ({...was, ...with_}));
  const fresh = () => { setID(newID()); setSent(false); setLook(false); };
  return html`<${Page} title=${`New job in ${ns}`} up=${{href: href(`fleet/${part(ns)}`), text: `Fleet of ${ns}`}}>
    <${Trouble} error=${before.error} what=${`Job ${asked} is not taken over`} />
    ${sent && there.data ? html`<div class="note row"><p>This was submitted as job <a class="mono" href=${href(`jobs/${id}`)}>${id}</a>.</p><button type="button" onClick=${fresh}>Make another like it</button></div>` : null}
    <section class="card" aria-label="Hosts"><${Expression} ns=${ns} label="Hosts" value=${draft.targets} onChange=${(/** @type {string} */ targets) => change({targets})} /></section>
    <section class="card" aria-label="What is to run"><h2>What is to run</h2>${['release', 'back'].includes(draft.kind) ? html`<${Again} draft=${draft} frozen=${frozen} ns=${ns} />` : html`<${What} draft=${draft} change=${change} />`}</section>
    <section class="card" aria-label="Options"><h2>Options</h2><${JobOptions} draft=${draft} change=${change} /></section>
    ${plan.error && !plan.loading && want.targets && html`<${Trouble} error=${plan.error} what="There is no plan" />`}
    ${p && html`<section class="card" aria-label="Plan"><h2>Plan</h2><${Plan} plan=${p} readOnly=${Boolean(want.options.read_only || want.fetch)} /></section>
    ${!want.options.read_only && html`<section class="card" aria-label="Rehearsal"><h2>Rehearsal</h2><${Rehearsal} submission=${want} /></section>`}
    <section class="card" aria-label="The same elsewhere"><h2>The same elsewhere</h2><${Same} plan=${p} release=${draft.kind === 'release'} /></section>`}
    <${Run} ns=${ns} id=${id} want=${want} plan=${p} planning=${plan.loading} why=${missing(draft) || draft.kind === 'release' && stays(frozen, p) || ''} sent=${sent && Boolean(there.data)} begin=${() => { keep({draft, id, sent: true}); setSent(true); }}
      looking=${look && there.loading} failed=${() => { there.again(); setLook(true); }} look=${plan.again} />
  </${Page}>`;
}

/** A release that a job froze, to be deployed once more: the same bytes, on hosts of the same environment. @param {{draft: import('../lib/draft.js').Draft, frozen: any, ns: string}} p */
function Again({draft, frozen, ns}) {
  const r = draft.release, lacks = frozen.data && lacking(frozen.data);
  const page = html`<a href=${href(`releases/${part(ns)}/${part(r?.app ?? '')}/${part(r?.env ?? '')}`)}>${clean(r?.app ?? '')} in ${clean(r?.env ?? '')}</a>`;
  if (draft.kind === 'back') return html`<p>Roll ${page} back. A rollback is made on the page of the deploy that it undoes: what hosts had then may not be what they had before it now.</p>`;
  return html`<p>Deploy <strong>${clean(r.app)}</strong> <strong class="mono">${clean(r.version)}</strong> to ${page}, exactly as job <a class="mono" href=${href(`jobs/${part(draft.from ?? '')}`)}>${draft.from}</a> had it frozen: the same archive, the same configuration. Another version, or the configuration as the layers say now, takes the command line.</p>
    <${Trouble} error=${frozen.error} what="What the server keeps of it is not known" />
    ${lacks && html`<div class="note stack"><p>The server does not keep ${lacks} any more, so it cannot be deployed from here.</p><p class="small">Next: <code>${frozen.data.command_line || `sluice deploy ${r.app}@${r.version} --env ${r.env}`}</code> <${Copy} text=${frozen.data.command_line} label="the command line" /></p></div>`}
    ${draft.from && html`<details><summary>The release</summary><${Release} id=${draft.from} /></details>`}`;
}

/** @param {{draft: import('../lib/draft.js').Draft, change: (with_: any) => void}} p */
function What({draft: d, change}) {
  const id = useId();
  const [error, fail] = useState(/** @type {any} */ (null));
  const kinds = [['command', 'Command'], ['argv', 'Words'], ['script', 'Script'], ...(d.copy ? [['copy', 'Copy']] : []), ['fetch', 'Fetch']];
  /** @param {any} e */
  const put = async (e) => {
    const file = e.currentTarget.files?.[0];
    if (!file) return;
    try { change({script: await putScript(file)}); fail(null); } catch (x) { fail(x); }
  };
  return html`<fieldset class="new-kinds"><legend class="unseen">Kind</legend>${kinds.map(([kind, text]) => html`<label key=${kind}><input type="radio" name=${`${id}-kind`} checked=${d.kind === kind} onChange=${() => change({kind})} /> ${text}</label>`)}</fieldset>
    ${d.kind === 'command' && html`<div class="stack"><label for=${`${id}-command`}>Shell text</label><textarea id=${`${id}-command`} class="mono new-text" rows="3" value=${d.command} spellcheck=${false} autocapitalize="none" onInput=${(/** @type {any} */ e) => change({command: e.currentTarget.value})}></textarea></div>`}
    ${d.kind === 'argv' && html`<div class="stack"><label for=${`${id}-argv`}>A command and its arguments, a line each</label><textarea id=${`${id}-argv`} class="mono new-text" rows="4" value=${d.argv} spellcheck=${false} autocapitalize="none" onInput=${(/** @type {any} */ e) => change({argv: e.currentTarget.value})}></textarea></div>`}
    ${d.kind === 'script' && html`<div class="stack"><label for=${`${id}-file`}>A file of this machine</label><input id=${`${id}-file`} type="file" onChange=${put} />
      ${d.script && html`<p>The script is <code>${d.script.name}</code> <span class="small quiet mono">${d.script.digest}</span></p>`}<${Trouble} error=${error} what="The script was not kept" />
      <label for=${`${id}-args`}>Its arguments, a line each</label><textarea id=${`${id}-args`} class="mono new-text" rows="2" value=${d.args} spellcheck=${false} onInput=${(/** @type {any} */ e) => change({args: e.currentTarget.value})}></textarea></div>`}
    ${d.kind === 'copy' && html`<p>Copy <code>${d.copy?.name}</code> to <code>${d.copy?.dest}</code></p>`}
    ${d.kind === 'fetch' && html`<div class="stack"><label for=${`${id}-fetch`}>An absolute path to bring back from every host</label><input id=${`${id}-fetch`} type="text" class="mono" value=${d.fetch} onInput=${(/** @type {any} */ e) => change({fetch: e.currentTarget.value})} /></div>`}`;
}

/** @param {{plan: any, release: boolean}} p */
const Same = ({plan, release}) => html`<div class="stack">
  ${release && html`<p class="small quiet">The command takes the archive from the repository and renders the configuration anew, as its layers say then.</p>`}
  <h3>As a command</h3>${plan.command_line ? html`<div class="new-same"><pre tabindex="0" role="region" aria-label="The command line">${plan.command_line}</pre><${Copy} text=${plan.command_line} label="the command line" /></div>` : html`<p class="quiet">There is none yet: it says what is to run, or uses what only the API has.</p>`}
  <h3>As a call of the API</h3>${plan.curl ? html`<div class="new-same"><pre tabindex="0" role="region" aria-label="The call">${plan.curl}</pre><${Copy} text=${plan.curl} label="the call" /></div>` : html`<p class="quiet">None: its secrets are sealed by the command line.</p>`}
</div>`;

/**
 * The button, and what stands before it. @param {{ns: string, id: string, want: any, plan: any, planning: boolean, why: string, sent: boolean, looking: boolean, begin: () => void, failed: () => void, look: () => void}} p
 * sent: it is there; looking: the page asks whether it is; begin: it is about to be sent; failed: it was refused, or nobody knows; look: at the plan once more
 */
function Run({ns, id, want, plan, planning, why, sent, looking, begin, failed, look}) {
  const may = useMay(ns, plan?.targets)['job.submit'];
  const [asking, askFor] = useState(false);
  const [error, fail] = useState(/** @type {any} */ (null));
  const going = useRef(false);
  const secret = secrets.find((s) => want.options[s]);
  const not = sent ? 'It was submitted already.' : looking ? 'The page looks whether it was submitted.' : secret ? 'This job needs a secret, and a page has none: type the command above.' : why || (planning ? 'The plan is being made.' : !plan ? 'There is no plan.' : '');
  const submit = async () => {
    if (going.current) return;
    going.current = true;
    fail(null);
    begin();
    try {
      await post('jobs', {...want, id, fleet_digest: plan.fleet_digest || undefined});
      go(href(`jobs/${id}`));
    } catch (x) {
      const e = x instanceof Problem ? x : new Problem({status: 0, detail: 'the answer was lost on its way', hint: 'the page looks whether the job is there'});
      fail(e);
      failed();
    } finally { going.current = false; }
  };
  const press = () => {
    if (not) return;
    if (plan.asks?.length) askFor(true); else void submit();
  };
  const what = (plan ? `Run on ${count(plan.count, 'host')}` : 'Run');
  return html`<section class="new-run stack" aria-label="Run">
    ${error && !sent && html`<${Trouble} error=${error} what=${error.status >= 400 && error.status < 500 ? 'The job was not submitted' : 'It is not known whether the job was submitted'} />`}
    ${error?.code === 'conflict' && !sent && html`<p><button type="button" onClick=${() => { fail(null); look(); }}>Look at the plan again</button></p>`}
    <p class="row"><${Control} may=${may} class="main" aria-disabled=${not && may?.may !== false ? 'true' : undefined} onClick=${press}>${what}</${Control}><span class="quiet" role="status">${not}</span></p>
    ${asking && html`<${Typed} title="Run this job?" verb=${what} word=${String(plan.count)} onClose=${() => askFor(false)} onDo=${submit}>
      <ul class="stack">${plan.asks.map((/** @type {string} */ a) => html`<li key=${a}>${clean(a)}.</li>`)}</ul>
      <p>Run <code>${clean(want.command ?? want.argv?.join(' ') ?? want.script?.name ?? want.fetch ?? want.copy?.name ?? (want.release && `deploy ${want.release.app}@${want.release.version} to ${want.release.env}`) ?? '')}</code> on ${count(plan.count, 'host')}?</p></${Typed}>`}
  </section>`;
}
