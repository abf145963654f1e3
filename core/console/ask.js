import { html, useEffect, useRef, useState } from './preact.js';
import { Problem } from './show.js';

/**
 * Asks for what a command needs, runs it, and shows what the server said. `fields`: {name, label, type, options, required, value}; `run` is
 * given their values.
 */
export function Ask({ title, warning, fields, button, run, onDone, onClose }) {
  const dialog = useRef();
  const [error, setError] = useState();
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      const values = Object.fromEntries(new FormData(event.target));
      onDone(await run(values));
    } catch (caught) {
      setError(caught);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="ask-title" onClose=${onClose}>
    <form onSubmit=${submit}>
      <h2 id="ask-title">${title}</h2>
      ${warning && html`<p>${warning}</p>`}
      ${fields.map((field) => html`<${Field} ...${field} />`)}
      <${Problem} error=${error} />
      <div class="row end">
        <button type="button" class="quiet" onClick=${() => dialog.current.close()}>Cancel</button>
        <button disabled=${busy}>${button}</button>
      </div>
    </form>
  </dialog>`;
}

function Field({ name, label, type = 'text', options, value = '', required = true, maxlength = 500, hint }) {
  const control = options
    ? html`<select name=${name}>${options.map(([option, text]) => html`<option value=${option}>${text}</option>`)}</select>`
    : html`<input name=${name} type=${type} required=${required} maxlength=${maxlength} defaultValue=${value} autocomplete="off" />`;
  return html`<label>${label}${control}${hint && html`<small>${hint}</small>`}</label>`;
}

export const REASON = { name: 'reason', label: 'Reason, kept with your name' };
