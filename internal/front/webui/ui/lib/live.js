// What is live, put together by namespace, app, environment and version.

/** Of what is not simply live: name of the count, sign, words. @type {[string, string, string][]} */
export const stands = [['unknown', 'unknown', 'not known'], ['changed', 'paused', 'changed by hand'], ['failed', 'failed', 'may not be well']];

/** One host, as a count. @param {any} l */
export const standing = (l) => l.state === 'unknown' ? 'unknown' : l.state === 'changed' ? 'changed' : l.failed ? 'failed' : 'live';

/** What hosts of one app in one environment have; the most hosts first. @param {any[]} list */
export function cellOf(list) {
  /** @type {Map<string, any>} */
  const versions = new Map();
  /** @type {Record<string, any>} */
  const out = {hosts: list.length, unknown: 0, changed: 0, failed: 0, live: 0};
  for (const l of list) {
    out[standing(l)]++;
    const version = l.version ?? '', config = l.config ?? '', key = `${version} ${config}`;
    const v = versions.get(key) ?? {version, config, hosts: 0, list: []};
    v.hosts++;
    v.list.push(l);
    versions.set(key, v);
  }
  out.versions = [...versions.values()].sort((a, b) => b.hosts - a.hosts || (a.version < b.version ? -1 : 1));
  for (const v of out.versions) v.several = out.versions.some((/** @type {any} */ o) => o !== v && o.version === v.version);
  return out;
}

/** @param {any[]} live @param {string} text a piece of the names of apps */
export function matrix(live, text) {
  /** @type {Map<string, {ns: string, envs: Set<string>, apps: Map<string, Map<string, any[]>>}>} */
  const spaces = new Map();
  for (const l of live) {
    if (!l.app.toLowerCase().includes(text.trim().toLowerCase())) continue;
    const s = spaces.get(l.namespace) ?? {ns: l.namespace, envs: new Set(), apps: new Map()};
    spaces.set(l.namespace, s);
    s.envs.add(l.env);
    const app = s.apps.get(l.app) ?? new Map();
    s.apps.set(l.app, app);
    const list = app.get(l.env) ?? [];
    list.push(l);
    app.set(l.env, list);
  }
  return [...spaces.values()].sort((a, b) => a.ns < b.ns ? -1 : 1).map((s) => ({ns: s.ns, envs: [...s.envs].sort(), apps: [...s.apps].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([app, envs]) => ({app, cells: new Map([...envs].map(([env, list]) => [env, cellOf(list)]))}))}));
}
