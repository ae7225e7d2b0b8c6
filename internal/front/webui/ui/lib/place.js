// Where things are. The UI knows no absolute path: it finds itself by the address of this file, behind any prefix.

/** Address of the built-in files of this version. */
export const files = new URL('../', import.meta.url);
/** Address of the pages. */
export const pages = new URL('../../', files);
/** Address of the API. */
export const apiRoot = new URL('../api/v1/', pages);

/**
 * Address of a page, for links: href('jobs/0123456789ab', {host: 'web1'}).
 * @param {string} page path below the UI, its parts already encoded; see {@link part}
 * @param {Record<string, string|number|boolean|string[]|undefined|null>} [query] what is empty is left out
 */
export function href(page, query) {
  const to = new URL(page || '.', pages);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== undefined && v !== null && v !== '' && v !== false) to.searchParams.append(name, String(v));
    }
  }
  return to.pathname + to.search;
}

/** A name as a part of a path. @param {string} name */
export const part = (name) => encodeURIComponent(name);
