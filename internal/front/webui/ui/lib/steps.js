// What the steps of an attempt are for, in the words of docs/releases.md.

/** @type {Record<string, string>} */
const whole = {
  command: 'runs the command',
  contact: 'reaches the host',
  start: 'starts',
  unpack: 'unpacks the version beside the others; every file is checked against its digest',
  verify: 'checks the kept version, every file against its digest',
  check: 'checks again that hooks left the files of the versions as they were',
  drain: 'takes the host out of its balancers, and lets requests in flight end',
  swing: 'live leads to the version, by one rename',
  healthy: 'waits until the host is well',
  return: 'balancers send requests again',
  collect: 'removes versions that are kept no more',
};

/** Steps with a name behind the slash. @type {Record<string, (name: string) => string>} */
const named = {
  pre: (n) => `hook of the host, before: ${n}`,
  post: (n) => `hook of the host, after: ${n}`,
  prepare: (n) => `hook of the version, before the host is drained: ${n}`,
  once: (n) => `runs once for the release, on this host alone, before any other changes: ${n}`,
  after: (n) => `runs once for the release, on this host alone, after all others have it: ${n}`,
  drain: (n) => `hook of the version, when the host is drained: ${n}`,
  deployed: (n) => `hook of the version, once it is live: ${n}`,
  undrain: (n) => `hook of the version, before the host serves again: ${n}`,
  restart: (n) => `restarts the service ${n}`,
  reload: (n) => `has the service ${n} read again`,
};

/** What a step is for; "" for one that nobody knows. @param {string} step */
export function purpose(step) {
  const [phase, name] = step.split(/\/(.*)/s);
  return name === undefined ? whole[phase] ?? '' : named[phase]?.(name) ?? '';
}

/** Whether these are the steps of a deploy or a rollback. @param {{name: string}[]} steps */
export const deploys = (steps) => steps.some((s) => /^(unpack|verify|swing)$/.test(s.name));
