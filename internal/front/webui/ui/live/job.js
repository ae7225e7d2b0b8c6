// One job as it goes on: a whole board first, then what changes of its hosts, some times a second. What is of the job as a
// whole (room, gates, reasons) is asked for anew when something happened that may have changed it.
import {apiRoot} from '../lib/place.js';
import {hearStale} from '../lib/stale.js';
import {stream} from './stream.js';

const cellsEvery = 120; // ms
const standingEvery = 1000;
const restEvery = 3000; // of a job that rests, and of what other jobs change

/** Of a board, columns that the page gets as they are. @param {any} b */
const columns = (b) => ({names: b.hosts.names, stage: Uint16Array.from(b.hosts.stage), state: Uint8Array.from(b.hosts.state), attempt: Uint16Array.from(b.hosts.attempt),
  since: Float64Array.from(b.hosts.since), took: Float64Array.from(b.hosts.took)});

/** @type {import('./hub.js').Open} */
export function job({id}, out) {
  const path = `jobs/${encodeURIComponent(id)}`;
  const stop = new AbortController();
  /** @type {any} */ let board;
  /** @type {ReturnType<typeof columns>|undefined} */ let hosts;
  /** @type {ReturnType<typeof stream>|undefined} */ let line;
  /** @type {Map<number, true>} */ const changed = new Map();
  /** @type {Map<string, number>} */ let number = new Map();
  let last = 0, begin = 0, over = false, ended = false, closed = false, boardAsked = false;

  const ask = async (/** @type {string} */ what) => {
    const answer = await fetch(new URL(`${path}/${what}`, apiRoot), {signal: stop.signal, credentials: 'same-origin', cache: 'no-store', headers: {Accept: 'application/json'}});
    hearStale(answer);
    if (answer.status === 401) out.signedOut();
    if (!answer.ok) throw Object.assign(new Error(String(answer.status)), {status: answer.status, told: await answer.json().catch(() => ({}))});
    return answer.json();
  };

  const whole = () => ({board: {...board, hosts: undefined, states: board.states}, columns: hosts && {...hosts}, counts: counts()});

  /** How many hosts are in each state, and of each stage. */
  const counts = () => {
    const n = board.states.length, all = new Array(n).fill(0), stages = board.stages.map(() => new Array(n).fill(0));
    if (hosts) for (let i = 0; i < hosts.state.length; i++) {
      all[hosts.state[i]]++;
      const s = stages[hosts.stage[i]];
      if (s) s[hosts.state[i]]++;
    }
    return {all, stages};
  };

  /** The board anew: when it is opened, after what changes many hosts at once, and where what came does not fit. */
  const load = async () => {
    if (boardAsked) return;
    boardAsked = true;
    for (let tries = 0; !closed; tries++) {
      try {
        const b = await ask('board');
        boardAsked = false;
        board = b;
        hosts = columns(b);
        number = new Map(hosts.names.map((/** @type {string} */ name, /** @type {number} */ i) => [name, i]));
        last = b.seq;
        begin = new Date(b.job.submitted).getTime();
        over = ['succeeded', 'failed', 'cancelled'].includes(b.job.state);
        changed.clear();
        out.emit(whole());
        line?.close();
        line = undefined;
        if (over || b.job.state === 'halted') out.connection({connection: 'live'});
        else follow();
        return;
      } catch (e) {
        if (closed) return;
        const {status, told} = /** @type {any} */ (e);
        if (status === 404 || status === 403 || status === 400) { boardAsked = false; out.emit({refused: {status, ...told}}); return; }
        out.connection({connection: 'lost', since: Date.now(), why: status ? `the server answered ${status}` : 'the server cannot be reached'});
        await new Promise((r) => setTimeout(r, Math.min(8000, 400 * 2 ** Math.min(tries, 5)) * (0.5 + Math.random())));
      }
    }
  };

  const follow = () => {
    ended = false;
    line = stream({path: () => `${path}/events?short=true`, last: () => String(last), connection: out.connection, signedOut: out.signedOut,
      refused: (status) => status === 404 || status === 403,
      over: () => ended,
      hear: (events) => {
        for (const e of events) {
          if (e.event === 'end') { ended = true; standingSoon(0); continue; }
          const seq = Number(e.id);
          if (seq && seq <= last) continue; // it is in the board
          take(JSON.parse(e.data));
          if (seq) last = seq;
        }
        cellsSoon();
      }});
  };

  /** @param {number} i @param {number} state @param {number} try_ @param {number} at @param {number} [took] */
  const set = (i, state, try_, at, took = 0) => {
    if (!hosts || i >= hosts.state.length) { void load(); return; }
    hosts.state[i] = state;
    if (try_) hosts.attempt[i] = try_;
    hosts.since[i] = at - begin;
    hosts.took[i] = took;
    changed.set(i, true);
  };

  /** @param {any} e an event: an array where it is short */
  const take = (e) => {
    const running = 1, succeeded = board.states.indexOf('succeeded');
    if (Array.isArray(e)) {
      const [type, host, try_, at, more] = e;
      if (type === 'task.started') set(host, running, try_, at);
      else if (type === 'task.finished') { set(host, succeeded, try_, at, more); standingSoon(standingEvery); }
      return;
    }
    const at = new Date(e.time).getTime(), i = number.get(e.host) ?? -1, try_ = e.attempt ? Number(String(e.attempt).split('-').pop()) : 0;
    switch (e.type) {
      case 'task.started': if (i >= 0) set(i, running, try_, at); break;
      case 'task.finished': if (i >= 0) set(i, board.states.indexOf(e.outcome), try_, at, e.duration_ms ?? 0); standingSoon(standingEvery); break;
      case 'task.withdrawn': if (i >= 0) set(i, 0, try_, at); standingSoon(300); break;
      case 'stage.opened': {
        const k = board.stages.findIndex((/** @type {any} */ s) => s.track === e.track && s.stage === e.stage && (e.index === undefined || s.index === e.index));
        if (k >= 0) { board.stages[k].opened = e.time; out.emit({opened: [k, e.time]}); }
        standingSoon(300);
        break;
      }
      case 'task.retried': for (const h of e.hosts ?? []) { const k = number.get(h); if (k !== undefined) set(k, 0, 0, at); } standingSoon(standingEvery); break;
      case 'job.finished': over = true; standingSoon(0); void load(); break;
      default: standingSoon(200);
    }
  };

  let cellTimer = 0;
  const cellsSoon = () => { cellTimer ||= setTimeout(cells, cellsEvery); };
  const cells = () => {
    cellTimer = 0;
    if (!hosts || !changed.size) return;
    const at = Uint32Array.from(changed.keys());
    changed.clear();
    const n = at.length, state = new Uint8Array(n), attempt = new Uint16Array(n), since = new Float64Array(n), took = new Float64Array(n);
    at.forEach((i, k) => { const h = /** @type {any} */ (hosts); state[k] = h.state[i]; attempt[k] = h.attempt[i]; since[k] = h.since[i]; took[k] = h.took[i]; });
    out.emit({cells: {at, state, attempt, since, took}, counts: counts()});
  };

  let standingTimer = 0, standingDue = 0, asking = false;
  const standingSoon = (/** @type {number} */ ms) => {
    const due = Date.now() + ms;
    if (standingTimer && standingDue <= due) return;
    clearTimeout(standingTimer);
    standingDue = due;
    standingTimer = setTimeout(standing, ms);
  };
  const standing = async () => {
    standingTimer = 0;
    if (closed || !board) return;
    if (asking) { standingSoon(200); return; } // what happened since is not in the answer that is awaited
    asking = true;
    try {
      const seen = last;
      const s = await ask('standing');
      if (s.seq < seen) void load(); // the server has another past: it was restored
      const was = board.job;
      const targets = new Map(board.constraints.map((/** @type {any} */ c) => [c.constraint + ' ' + c.group, c.targets]));
      board.job = s.job;
      board.waits = s.waits;
      board.constraints = s.constraints.map((/** @type {any} */ c) => ({...c, targets: targets.get(c.constraint + ' ' + c.group)}));
      out.emit({standing: {job: s.job, waits: s.waits, constraints: board.constraints}});
      if (!line) out.connection({connection: 'live'});
      // Somebody has resumed it, or halted it where nobody follows it.
      if ((!line && (s.job.generation !== was.generation || s.job.state !== was.state)) || (ended && s.job.state !== 'halted' && !over)) void load();
    } catch (e) {
      if (!closed && !line) out.connection({connection: 'lost', since: Date.now(), why: 'the server cannot be reached'});
    } finally { asking = false; }
  };
  const resting = setInterval(() => { if (board) standingSoon(0); }, restEvery); // also of one that is over: somebody may try it again
  void load();

  return {
    picture: () => board && whole(),
    close: () => { closed = true; stop.abort(); line?.close(); clearInterval(resting); clearTimeout(cellTimer); clearTimeout(standingTimer); },
  };
}
