// Whether a release that a job froze can be deployed once more.

/** What of it is not kept any more, in words; '' if all is there. @param {any} frozen */
export const lacking = (frozen) => (frozen.pieces ?? []).filter((/** @type {any} */ p) => !p.kept).map((/** @type {any} */ p) => `the ${p.what}`).join(' and ');

/**
 * Why it cannot be deployed; '' if it can. @param {{data?: any, error?: any}} frozen @param {any} plan with all names of its targets
 */
export function stays(frozen, plan) {
  if (!frozen.data) return frozen.error ? 'It is not known what the server keeps of it.' : 'The server is asked what it keeps of it.';
  const lacks = lacking(frozen.data);
  if (lacks) return `The server does not keep ${lacks} any more.`;
  if (!frozen.data.rendered || !plan) return '';
  const has = new Set(frozen.data.rendered);
  const without = plan.targets.filter((/** @type {string} */ h) => !has.has(h));
  return without.length ? `No configuration was rendered for ${without.slice(0, 3).join(', ')}${without.length > 3 ? ` and ${without.length - 3} more` : ''}: the command line renders it.` : '';
}
