// Who is signed in. One picture for the whole page; the secret itself is in a cookie that no script can read.
import {useState, useEffect} from '../vendor/preact.js';
import {get, post, del, onSignedOut} from './api.js';
import {onSignedIn, onLeft, tellSignedIn, tellLeft} from './signed.js';

/**
 * at: 'asking' until the server says who it is; 'in'; 'lapsed' where the session ended while a page was open, which stays;
 * 'out' where there is nothing to stay on.
 * @typedef {{at: 'asking'|'in'|'lapsed'|'out', me?: any}} Session
 */
/** @type {Session} */
let now = {at: 'asking'};
/** @type {Set<(s: Session) => void>} */
const told = new Set();

/** @param {Session} next */
function become(next) {
  now = next;
  for (const f of [...told]) f(next);
}

let last = '';

/** @param {any} me */
function enter(me) {
  // Another person must not see what is left of the one before.
  if (last && last !== me.principal) { location.reload(); return; }
  last = me.principal;
  become({at: 'in', me});
}

async function look() {
  try {
    enter(await get('session'));
  } catch { /* 401 is told below; without a server the page says so itself */ }
}

onSignedOut.add(() => { if (now.at === 'asking' || now.at === 'in') become(now.me ? {at: 'lapsed', me: now.me} : {at: 'out'}); });
onSignedIn.add(() => { if (now.at !== 'in') void look(); });
onLeft.add(() => become({at: 'out'}));

/** Begins: asks who it is. */
export const begin = look;

/** @param {string} token */
export async function signIn(token) {
  const me = await post('session', {token});
  tellSignedIn();
  enter(me);
}

export async function signOut() {
  await del('session');
  tellLeft();
  become({at: 'out'});
}

/** @returns {Session} */
export function useSession() {
  const [s, set] = useState(now);
  useEffect(() => {
    told.add(set);
    set(now);
    return () => { told.delete(set); };
  }, []);
  return s;
}

/** Whether a right holds somewhere, for what a page says of itself; what may be done is asked of the server. @param {any} me @param {string} right */
export const holds = (me, right) => !!me?.rights?.some((/** @type {any} */ h) => h.right === right);
