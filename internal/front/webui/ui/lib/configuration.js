// Configurations, key by key: a pure part of the page.

/**
 * The keys of one, and of another that it is compared with, sorted. Sealed values differ where they are sealed anew: nobody here can
 * look into them.
 * @param {any} c @param {any} [than]
 * @returns {{key: string, value?: string, sealed?: boolean, said?: any[], than?: string, thanSealed?: boolean, differs: boolean}[]}
 */
export function rowsOf(c, than) {
  const old = new Map((than?.keys ?? []).map((/** @type {any} */ k) => [k.key, k]));
  const rows = c.keys.map((/** @type {any} */ k) => {
    const o = old.get(k.key);
    old.delete(k.key);
    return {...k, than: o?.value, thanSealed: o?.sealed, differs: Boolean(than) && (!o || o.value !== k.value)};
  });
  for (const o of old.values()) rows.push({key: o.key, than: o.value, thanSealed: o.sealed, differs: true});
  return rows.sort((/** @type {any} */ a, /** @type {any} */ b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** Whether a text is in a key, in what it is, or in where that stands. @param {any} row @param {string} text */
export function fits(row, text) {
  const find = text.trim().toLowerCase();
  return [row.key, row.value ?? '', row.than ?? '', ...(row.said ?? []).map((/** @type {any} */ s) => s.at)].some((t) => t.toLowerCase().includes(find));
}
