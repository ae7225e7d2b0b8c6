// The options of a job, in the words of the command line.
import {html, useId} from '../vendor/preact.js';

/** Name in the API, word, what it means, an example. @type {[string, string, string, string][]} */
const texts = [
  ['max_failures', 'max failures', 'halt when more than so many hosts, or such a share, failed', '2 or 5%'],
  ['max_parallel', 'max parallel', 'at most so many of these hosts out of service at once', '3 or 10%'],
  ['concurrency', 'concurrency', 'at most so many attempts at once', '256'],
  ['timeout', 'timeout', 'end a host\'s run after this time', '5m'],
  ['job_timeout', 'job timeout', 'halt the job and end what runs after this time', '2h'],
  ['lock', 'lock', 'only one job has the lock of this name at a time; others wait until it ends', 'hello/production'],
  ['reconnect', 'reconnect', 'try a lost link again for this time', '2m'],
];
/** @type {[string, string, string][]} */
const flags = [
  ['read_only', 'read only', 'the command changes nothing: it takes no capacity'],
  ['no_hooks', 'no hooks', 'run no hooks'],
  ['supersede', 'supersede', 'cancel the jobs that have the lock, or wait for it'],
  ['tty', 'tty', 'run the command on a terminal; a lost link may then kill it'],
];
/** @type {[string, string][]} */
const asked = [['ask_password', 'a password to log in'], ['ask_sudo_password', 'a password for sudo'], ['ask_passphrase', 'a passphrase of keys'], ['ask_private_key', 'a private key to log in with'], ['signed', 'a signature']];

/** @param {{draft: import('../lib/draft.js').Draft, change: (with_: any) => void}} p */
export function JobOptions({draft, change}) {
  const id = useId();
  const o = draft.options;
  /** @param {string} name @param {any} value */
  const set = (name, value) => change({options: {...o, [name]: value}});
  /** @param {string} name @param {string} label @param {string} value @param {(v: string) => void} to @param {string} what @param {string} example */
  const field = (name, label, value, to, what, example) => html`<div key=${name} class="joboptions-field"><label for=${`${id}-${name}`}>${label}</label>
    <input id=${`${id}-${name}`} type="text" value=${value ?? ''} placeholder=${example} aria-describedby=${`${id}-${name}-what`} autocomplete="off" autocapitalize="none" spellcheck=${false} onInput=${(/** @type {any} */ e) => to(e.currentTarget.value)} />
    <p id=${`${id}-${name}-what`} class="small quiet">${what}</p></div>`;
  /** @param {string} name @param {string} label @param {string} [what] */
  const flag = (name, label, what) => html`<label key=${name} class="joboptions-flag"><input type="checkbox" checked=${Boolean(o[name])} onChange=${(/** @type {any} */ e) => set(name, e.currentTarget.checked)} /> <span>${label}${what && html` <span class="small quiet">${what}</span>`}</span></label>`;
  return html`<div class="stack">
    <div class="joboptions-grid">
      ${field('user', 'user', draft.user, (v) => change({user: v}), 'log in as this user', 'as the fleet says')}
      ${field('sudo', 'sudo', o.sudo, (v) => set('sudo', v), 'become this user by sudo', 'root')}
      ${texts.slice(0, 4).map(([name, label, what, example]) => field(name, label, o[name], (v) => set(name, v), what, example))}
    </div>
    ${!draft.release && flag(...flags[0])}
    <details class="joboptions-more"><summary>More options</summary><div class="stack">
      <div class="joboptions-grid">${texts.slice(4).map(([name, label, what, example]) => field(name, label, o[name], (v) => set(name, v), what, example))}
        ${field('hooks', 'hooks', o.hooks, (v) => set('hooks', v), 'directory on the hosts with pre.d and post.d', '/etc/sluice')}</div>
      ${flags.slice(1).map((f) => flag(...f))}
      <div class="joboptions-field"><label for=${`${id}-env`}>env</label><textarea id=${`${id}-env`} class="mono" rows="2" value=${draft.env} placeholder="NAME=VALUE, a line each" spellcheck=${false} onInput=${(/** @type {any} */ e) => change({env: e.currentTarget.value})}></textarea></div>
      <div class="joboptions-field"><label for=${`${id}-prompts`}>prompts</label><textarea id=${`${id}-prompts`} class="mono" rows="2" value=${draft.prompts} placeholder="patterns of prompts that the password answers, a line each" spellcheck=${false} onInput=${(/** @type {any} */ e) => change({prompts: e.currentTarget.value})}></textarea></div>
      <fieldset class="joboptions-secrets"><legend>Secrets that it needs</legend>${asked.map(([name, label]) => flag(name, label))}</fieldset>
    </div></details>
  </div>`;
}
