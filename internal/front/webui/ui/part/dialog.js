// A question before something is done: the browser's own dialog keeps the focus inside and gives it back.
import {html, useEffect, useRef, useId} from '../vendor/preact.js';

/** @param {{title: string, onClose: () => void, children: any}} p shown as long as it is drawn */
export function Dialog({title, onClose, children}) {
  const at = useRef(/** @type {HTMLDialogElement|null} */ (null));
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    at.current?.showModal();
    return () => { if (before instanceof HTMLElement && before.isConnected) before.focus(); };
  }, []);
  return html`<dialog ref=${at} aria-labelledby=${id} onCancel=${(/** @type {Event} */ e) => { e.preventDefault(); onClose(); }}>
    <div class="stack"><h2 id=${id}>${title}</h2>${children}</div>
  </dialog>`;
}
