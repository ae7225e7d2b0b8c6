// The list of jobs as it changes, by a filter: one stream, however many jobs go on and however many tabs look at it.
import {stream} from './stream.js';

/** @type {import('./hub.js').Open} */
export function jobs(query, out) {
  /** @type {Map<string, any>|undefined} what there is, by id */
  let known;
  let last = '', next = '';
  const s = stream({
    path: () => `feed?${new URLSearchParams(query)}`,
    last: () => last,
    connection: out.connection,
    signedOut: out.signedOut,
    refused: (status) => {
      const no = status < 500 && status !== 429;
      if (no) out.emit({refused: status});
      return no;
    },
    hear: (events) => {
      for (const e of events) {
        const data = JSON.parse(e.data);
        if (e.event === 'page') {
          known = new Map(data.jobs.map((/** @type {any} */ j) => [j.id, j]));
          next = data.next ?? '';
          out.emit({page: data.jobs, next, unreadable: data.unreadable});
        } else if (e.event === 'jobs') {
          for (const j of data.jobs) known?.set(j.id, j);
          for (const id of data.gone ?? []) known?.delete(id);
          out.emit({jobs: data.jobs, gone: data.gone ?? []});
        }
        if (e.id) last = e.id;
      }
    },
  });
  return {picture: () => known && {page: [...known.values()], next}, close: s.close};
}
