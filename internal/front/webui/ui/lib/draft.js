// A job that is being made: what the form says, as the API takes it. It has its id before it is submitted, so that it is
// submitted once, however often that is tried; both stay with this entry of the browser's history.
import {ask} from './api.js';

/**
 * kind: what is to run. env and argv are text, a line each. release is what the job from deployed.
 * @typedef {{targets: string, kind: string, command: string, argv: string, script: any, args: string, copy: any, fetch: string, user: string,
 *   options: Record<string, any>, env: string, prompts: string, release?: any, from?: string}} Draft
 */

/** @param {string} targets @returns {Draft} */
export const empty = (targets) => ({targets, kind: 'command', command: '', argv: '', script: null, args: '', copy: null, fetch: '', user: '', options: {}, env: '', prompts: ''});

/** @param {string} text lines, without those that are empty */
const lines = (text) => text.split('\n').filter((l) => l !== '');

/**
 * What the API takes. @param {string} namespace @param {Draft} d
 * @returns {any}
 */
export function submission(namespace, d) {
  /** @type {Record<string, any>} */
  const options = {};
  for (const [name, value] of Object.entries(d.options)) {
    if (value === '' || value === false || value === null || value === undefined) continue;
    options[name] = name === 'concurrency' ? Number(value) : value;
  }
  const env = lines(d.env).map((l) => /** @type {[string, string]} */ (l.includes('=') ? [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)] : [l, '']));
  if (env.length) options.env = Object.fromEntries(env);
  if (lines(d.prompts).length) options.prompts = lines(d.prompts);
  /** @type {Record<string, any>} */
  const out = {namespace, targets: d.targets.trim(), user: d.user.trim() || undefined, options};
  if (d.kind === 'argv') out.argv = lines(d.argv);
  else if (d.kind === 'script') out.script = d.script ? {...d.script, args: lines(d.args)} : undefined;
  else if (d.kind === 'copy') out.copy = d.copy;
  else if (d.kind === 'fetch') out.fetch = d.fetch;
  else if (d.kind === 'release') out.release = d.release;
  else if (d.kind === 'back') out.command = '';
  else out.command = d.command;
  return out;
}

/** What is not said yet, in words; "" if nothing is missing. @param {Draft} d */
export function missing(d) {
  if (!d.targets.trim()) return 'No hosts are meant yet.';
  if (d.kind === 'release') return '';
  if (d.kind === 'back') return 'A rollback is made on the page of the deploy that it undoes.';
  if (d.kind === 'argv' ? !lines(d.argv).length : d.kind === 'script' ? !d.script : d.kind === 'copy' ? !d.copy : d.kind === 'fetch' ? !d.fetch : !d.command.trim()) return 'What is to run is not said yet.';
  return '';
}

/** The form of what was asked for before. @param {any} s @param {string} [from] the job that asked for it @returns {Draft} */
export function again(s, from) {
  const {env, prompts, ...options} = s.options ?? {};
  if (s.release) delete options.supersede; // what is deployed now is not cancelled unless somebody says so
  return {...empty(s.targets), release: s.release, from, kind: s.back ? 'back' : s.release ? 'release' : s.script ? 'script' : s.copy ? 'copy' : s.fetch ? 'fetch' : s.argv ? 'argv' : 'command', command: s.command ?? '',
    argv: (s.argv ?? []).join('\n'), script: s.script ? {digest: s.script.digest, name: s.script.name} : null, args: (s.script?.args ?? []).join('\n'),
    copy: s.copy ?? null, fetch: s.fetch ?? '', user: s.user ?? '', options, env: Object.entries(env ?? {}).map(([k, v]) => `${k}=${v}`).join('\n'), prompts: (prompts ?? []).join('\n')};
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** An id of a job that nobody has. */
export const newID = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => alphabet[n % 32]).join('');

/** Puts a script into the server's store. @param {File} file */
export async function putScript(file) {
  const blob = await (await ask('POST', 'blobs', {raw: file})).json();
  return {digest: blob.digest, name: file.name};
}

/** Options that ask for a secret: no page ever has one. */
export const secrets = ['ask_password', 'ask_sudo_password', 'ask_passphrase', 'ask_private_key', 'signed'];

/** What is kept with this entry of the history. @returns {{draft?: Draft, id?: string, sent?: boolean}} */
export const kept = () => history.state?.job ?? {};

/** @param {{draft: Draft, id: string, sent: boolean}} job */
export function keep(job) {
  try { history.replaceState({...history.state, job}, '', location.href); } catch { /* too often: the next time */ }
}
