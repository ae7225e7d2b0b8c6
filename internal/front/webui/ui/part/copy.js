// Text to copy.
import {html, useState} from '../vendor/preact.js';

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea'); // without TLS there is no clipboard to write to
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** @param {{text: string, label: string}} p */
export function Copy({text, label}) {
  const [done, set] = useState('');
  return html`<span class="copy"><button type="button" class="plain" onClick=${() => copy(text).then(() => set('copied'), () => set('not copied: select it'))}>Copy<span class="unseen"> ${label}</span></button>
    <span role="status" class="small quiet">${done}</span></span>`;
}
