// Says on every page that what is shown is from before, where the server has no contact with the others of its cluster.
import {html, useState, useEffect} from '../vendor/preact.js';
import {onStale, staleSince} from '../lib/stale.js';
import {href} from '../lib/place.js';
import {Lasting} from './when.js';

export function Stale() {
  const [since, set] = useState(staleSince);
  useEffect(() => {
    onStale.add(set);
    set(staleSince());
    return () => { onStale.delete(set); };
  }, []);
  return html`<div role="status">${since && html`<p class="stale note">The server has had no contact with <a href=${href('servers')}>the others</a> for <${Lasting} from=${since} />. What you see is from before, and nothing but a halt is taken until it is back.</p>`}</div>`;
}
