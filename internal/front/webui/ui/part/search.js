// One field that finds jobs, hosts and people by a piece of their names. It is reached by "/" where nothing is typed in, and
// used with the arrows and Enter.
import {html, useState, useEffect, useRef, useId} from '../vendor/preact.js';
import {get} from '../lib/api.js';
import {href, part} from '../lib/place.js';
import {go, usePlace} from '../lib/router.js';
import {clean} from '../lib/clean.js';
import {standing} from '../lib/jobs.js';
import {Mark} from './mark.js';

/** @typedef {{to: string, kind: string, text: string, state?: string, more?: string}} Hit */

/** @param {any} f @param {string} text @returns {Hit[]} */
const hits = (f, text) => [
  ...f.jobs.map((/** @type {any} */ j) => ({to: href(`jobs/${part(j.id)}`), kind: 'job', text: j.command, state: standing(j), more: j.id})),
  ...f.hosts.map((/** @type {any} */ h) => ({to: href(`hosts/${part(h.namespace)}/${part(h.host)}`), kind: 'host', text: h.host, more: h.namespace})),
  ...f.users.map((/** @type {any} */ u) => ({to: href(`users/${part(u)}`), kind: 'user', text: u})),
  {to: href('jobs', {text}), kind: 'jobs', text: `All jobs with "${text}"`},
];

export function Search() {
  const [text, type] = useState('');
  const [list, set] = useState(/** @type {Hit[]|null} */ (null));
  const [at, move] = useState(0);
  const field = useRef(/** @type {HTMLInputElement|null} */ (null));
  const box = useRef(/** @type {HTMLElement|null} */ (null));
  const id = useId();
  const place = usePlace();
  useEffect(() => { set(null); type(''); }, [place.path, place.search]);
  useEffect(() => {
    const key = (/** @type {KeyboardEvent} */ e) => {
      const on = document.activeElement;
      if (e.key !== '/' || e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') ||
        (on instanceof HTMLElement && on.matches('input, textarea, select, [contenteditable]'))) return;
      e.preventDefault();
      field.current?.focus();
    };
    addEventListener('keydown', key);
    return () => removeEventListener('keydown', key);
  }, []);
  useEffect(() => {
    const asked = text.trim();
    if (!asked) { set(null); return undefined; }
    const stop = new AbortController();
    const t = setTimeout(() => get('search', {text: asked, limit: 6}, stop.signal).then((f) => { set(hits(f, asked)); move(0); }, () => { if (!stop.signal.aborted) set(hits({jobs: [], hosts: [], users: []}, asked)); }), 120);
    return () => { clearTimeout(t); stop.abort(); };
  }, [text]);
  const open = !!list;
  const follow = (/** @type {Hit|undefined} */ h) => { if (h) { field.current?.blur(); go(h.to); } };
  const key = (/** @type {KeyboardEvent} */ e) => {
    const n = list?.length ?? 0;
    if (e.key === 'ArrowDown' && n) move((at + 1) % n);
    else if (e.key === 'ArrowUp' && n) move((at + n - 1) % n);
    else if (e.key === 'Enter') { const asked = text.trim(); if (list) follow(list[at]); else if (asked) go(href('jobs', {text: asked})); }
    else if (e.key === 'Escape') { type(''); set(null); } else return;
    e.preventDefault();
  };
  return html`<div class="search" ref=${box} role="search" onFocusOut=${(/** @type {FocusEvent} */ e) => { if (!box.current?.contains(/** @type {Node} */ (e.relatedTarget))) set(null); }}>
    <input ref=${field} type="search" role="combobox" aria-label="Find jobs, hosts, users" placeholder="Find  /" aria-expanded=${open ? 'true' : 'false'} aria-controls=${id} aria-autocomplete="list"
      aria-activedescendant=${open ? `${id}-${at}` : null} autocomplete="off" spellcheck="false" value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} onKeyDown=${key} />
    <ul id=${id} role="listbox" aria-label="Found" class="search-list card" hidden=${!open}>${list?.map((h, i) => html`<li key=${h.to} id=${`${id}-${i}`} role="option" aria-selected=${i === at ? 'true' : 'false'}
      onPointerDown=${(/** @type {Event} */ e) => { e.preventDefault(); follow(h); }}>
      <span class="search-kind small quiet">${h.kind}</span><span class="search-text cut">${clean(h.text)}</span>${h.state && html`<${Mark} state=${h.state} />`}${h.more && html`<span class="small quiet mono">${h.more}</span>`}</li>`)}</ul>
  </div>`;
}
