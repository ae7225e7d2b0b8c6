// The API, asked by the browser's own session. No secret is ever in reach of a script.
import {apiRoot} from './place.js';
import {hearStale} from './stale.js';

/** What the server answers where something is wrong: RFC 9457, with what to do next. */
export class Problem extends Error {
  /** @param {{status: number, title?: string, detail?: string, hint?: string, code?: string, errors?: {location?: string, message?: string}[]}} p */
  constructor(p) {
    super(p.detail || p.title || 'the server did not say why');
    this.status = p.status;
    this.code = p.code ?? '';
    this.hint = p.hint ?? '';
    this.errors = p.errors ?? [];
  }
}

/** Told when the server no longer knows who asks. @type {Set<() => void>} */
export const onSignedOut = new Set();

/**
 * Asks the API. Path is below /api/v1/, its parts encoded.
 * @param {string} method
 * @param {string} path
 * @param {{query?: Record<string, any>, body?: any, raw?: Blob, signal?: AbortSignal, headers?: Record<string, string>}} [o] raw: a body as it is
 * @returns {Promise<Response>}
 */
export async function ask(method, path, o = {}) {
  const url = new URL(path, apiRoot);
  for (const [name, value] of Object.entries(o.query ?? {})) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== undefined && v !== null && v !== '') url.searchParams.append(name, String(v));
    }
  }
  const headers = new Headers({Accept: 'application/json', ...o.headers});
  if (o.raw) headers.set('Content-Type', 'application/octet-stream');
  else if (o.body !== undefined) headers.set('Content-Type', 'application/json');
  let answer;
  try {
    answer = await fetch(url, {method, headers, body: o.raw ?? (o.body === undefined ? undefined : JSON.stringify(o.body)),
      signal: o.signal, credentials: 'same-origin', cache: 'no-store', redirect: 'error'});
  } catch (e) {
    if (o.signal?.aborted) throw e;
    throw new Problem({status: 0, detail: 'the server cannot be reached', hint: 'the page tries again by itself'});
  }
  if (method === 'GET') hearStale(answer);
  if (answer.ok) return answer;
  const told = answer.headers.get('Content-Type')?.includes('json') ? await answer.json().catch(() => ({})) : {};
  if (answer.status === 401) for (const f of onSignedOut) f();
  throw new Problem({...told, status: answer.status, title: told.title || answer.statusText});
}

/** @param {string} path @param {Record<string, any>} [query] @param {AbortSignal} [signal] */
export const get = async (path, query, signal) => (await ask('GET', path, {query, signal})).json();
/** @param {string} path @param {any} [body] @param {Record<string, string>} [headers] */
export const post = async (path, body = {}, headers) => (await ask('POST', path, {body, headers})).json();
/** @param {string} path @param {any} body */
export const put = async (path, body) => (await ask('PUT', path, {body})).json();
/** @param {string} path */
export const del = async (path) => { const a = await ask('DELETE', path); return a.status === 204 ? null : a.json(); };
