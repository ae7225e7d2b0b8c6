// A job as its page has it. What changes some times a second is kept in columns that are written into; whoever draws it is
// told which hosts changed, and nothing else is drawn anew.
import {useState, useEffect, useRef} from '../vendor/preact.js';
import {subscribe} from './hub.js';

/**
 * names, stage, state, attempt, since (ms after the submission, -1: neither), took (ms): by number of the target.
 * @typedef {{names: string[], stage: Uint16Array, state: Uint8Array, attempt: Uint16Array, since: Float64Array, took: Float64Array}} Columns
 */

export class Model {
  constructor() {
    /** @type {any} all that is not of a single host */ this.board = undefined;
    /** @type {Columns|undefined} */ this.hosts = undefined;
    /** @type {{all: number[], stages: number[][]}} */ this.counts = {all: [], stages: []};
    /** @type {any} why it is not shown */ this.refused = undefined;
    /** @type {Map<string, Set<(x: any) => void>>} */ this.ears = new Map();
    this.versions = /** @type {Record<string, number>} */ ({board: 0, cells: 0, standing: 0});
  }

  /** @param {'board'|'cells'|'standing'} what @param {(x: any) => void} f @returns {() => void} */
  on(what, f) {
    const set = this.ears.get(what) ?? new Set();
    this.ears.set(what, set.add(f));
    return () => { set.delete(f); };
  }

  /** @param {'board'|'cells'|'standing'} what @param {any} [x] */
  say(what, x) {
    this.versions[what]++;
    for (const f of [...(this.ears.get(what) ?? [])]) f(x);
  }

  /** @param {any} m */
  hear(m) {
    if (m.refused) { this.refused = m.refused; this.say('board'); return; }
    if (m.board) {
      this.board = m.board;
      this.hosts = m.columns;
      this.counts = m.counts;
      this.refused = undefined;
      this.say('board');
      this.say('standing');
      this.say('cells');
      return;
    }
    if (m.cells && this.hosts) {
      const {at, state, attempt, since, took} = m.cells, h = this.hosts;
      for (let k = 0; k < at.length; k++) { const i = at[k]; h.state[i] = state[k]; h.attempt[i] = attempt[k]; h.since[i] = since[k]; h.took[i] = took[k]; }
      this.counts = m.counts;
      this.say('cells', at);
    }
    if (m.standing && this.board) { this.board = {...this.board, ...m.standing}; this.say('standing'); }
    if (m.opened && this.board) { this.board.stages[m.opened[0]].opened = m.opened[1]; this.say('standing'); }
  }
}

/** Follows a job. @param {string} id @returns {{model: Model, connection: any}} */
export function useJob(id) {
  const at = useRef(/** @type {{id: string, model: Model}|null} */ (null));
  if (at.current?.id !== id) at.current = {id, model: new Model()};
  const {model} = /** @type {{id: string, model: Model}} */ (at.current);
  const [connection, set] = useState(/** @type {any} */ ({connection: 'connecting'}));
  useEffect(() => subscribe('job', {id}, (m) => { if (m.connection) set(m); else model.hear(m); }), [id]);
  return {model, connection};
}

/** Draws anew when something of the model changed. @param {Model} model @param {('board'|'cells'|'standing')[]} what */
export function useModel(model, ...what) {
  const [, set] = useState(0);
  useEffect(() => {
    set((n) => n + 1);
    const off = what.map((w) => model.on(w, () => set((n) => n + 1)));
    return () => { for (const f of off) f(); };
  }, [model]);
}

/** Numbers that stand as runs: first, how many, first, how many. @param {number[]} runs @returns {number[]} */
export function unrun(runs) {
  const out = [];
  for (let k = 0; k + 1 < runs.length; k += 2) for (let i = 0; i < runs[k + 1]; i++) out.push(runs[k] + i);
  return out;
}
