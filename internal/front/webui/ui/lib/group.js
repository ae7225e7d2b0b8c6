// How the hosts of a job are put together in sections: by stage, or by the values of a tag.
import {unrun} from './job.js';

const most = 60; // sections; what is beyond stands together

/** Ways to group: tags with values below them, and tags that are alone. @param {any} board @returns {{by: string, text: string}[]} */
export function ways(board) {
  const names = new Set(board.tags.map((/** @type {any} */ t) => t.tag));
  const out = [{by: 'stage', text: 'stage'}, {by: '', text: 'nothing'}];
  for (const t of names) {
    const dot = t.lastIndexOf('.');
    if (dot < 0 || !names.has(t.slice(0, dot))) out.push({by: '$' + t, text: '$' + t});
  }
  return out;
}

/**
 * Sections of targets, each target in one of them: the first that has it.
 * @param {any} board @param {import('./job.js').Columns} hosts @param {string} by stage, a tag with its $ (one may be called stage), or nothing @returns {{name: string, hosts: number[]}[]}
 */
export function sections(board, hosts, by) {
  const n = hosts.names.length;
  if (by === '') return [{name: 'all', hosts: Array.from({length: n}, (_, i) => i)}];
  /** @type {{name: string, hosts: number[]}[]} */
  let out;
  if (by === 'stage') {
    const many = new Set(board.stages.map((/** @type {any} */ s) => s.track)).size > 1;
    out = board.stages.map((/** @type {any} */ s) => ({name: many ? `${s.track}: ${s.stage}` : s.stage, hosts: []}));
    for (let i = 0; i < n; i++) out[hosts.stage[i]]?.hosts.push(i);
  } else {
    const taken = new Uint8Array(n);
    const tag = by.replace(/^\$/, ''), parts = board.tags.filter((/** @type {any} */ t) => t.tag.startsWith(tag + '.') && !t.tag.slice(tag.length + 1).includes('.'));
    out = [...(parts.length ? parts : []), ...board.tags.filter((/** @type {any} */ t) => t.tag === tag)].map((t) => ({name: '$' + t.tag, hosts: unrun(t.hosts).filter((i) => !taken[i] && (taken[i] = 1))}));
    const rest = [];
    for (let i = 0; i < n; i++) if (!taken[i]) rest.push(i);
    out.push({name: `without $${tag}`, hosts: rest});
  }
  out = out.filter((s) => s.hosts.length);
  if (out.length > most) out = [...out.slice(0, most - 1), {name: `${out.length - most + 1} more`, hosts: out.slice(most - 1).flatMap((s) => s.hosts)}];
  return out;
}
