import { html, useEffect, useState } from './preact.js';

// The wire: every call of Wix with its answer, and every event, as they happen, each with the contract's verdict.

const SHOWN_MAX = 300;

/** All messages so far, oldest first, and each new one; `hear` is called when something happened. */
export function useWire() {
  const [entries, setEntries] = useState([]);
  const [isLive, setLive] = useState(false);
  useEffect(() => {
    let batch = [];
    let timer;
    const flush = () => {
      timer = undefined;
      const some = batch;
      batch = [];
      setEntries((before) => [...before, ...some].slice(-2 * SHOWN_MAX));
    };
    const source = new EventSource('wire');
    source.onopen = () => setEntries([]);
    source.onmessage = ({ data }) => {
      batch.push(JSON.parse(data));
      if (!timer) timer = setTimeout(flush, 50);
    };
    source.addEventListener('now', () => setLive(true));
    source.onerror = () => setLive(false);
    return () => source.close();
  }, []);
  return { entries, isLive };
}

/** A call and its answer are one line. */
export function messagesOf(entries) {
  const answers = new Map(entries.filter(({ type }) => type === 'answer').map((answer) => [answer.id, answer]));
  return entries.flatMap((entry, index) => {
    if (entry.type === 'call')
      return [
        {
          key: entry.id,
          what: entry.operation,
          from: 'Wix',
          at: entry.at,
          payment: entry.request.wixTransactionId,
          sent: entry.request,
          answer: answers.get(entry.id),
        },
      ];
    if (entry.type === 'event') {
      const event = parse(entry.text)?.event ?? {};
      const [kind, body = {}] = Object.entries(event)[0] ?? ['event'];
      return [
        {
          key: `e${entry.at}${index}`,
          what: `event: ${kind}`,
          from: 'connector',
          at: entry.at,
          payment: body.wixTransactionId,
          sent: parse(entry.text) ?? entry.text,
          accepted: entry.accepted,
          violations: entry.violations,
          reason: body.reasonCode,
        },
      ];
    }
    if (entry.type === 'violation')
      return [{ key: `v${index}`, what: 'token', from: 'connector', violations: entry.violations, sent: {} }];
    return [];
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function Wire({ messages, payment, isLive }) {
  const [raw, setRaw] = useState(false);
  const [all, setAll] = useState(true);
  const shown = messages
    .filter((message) => all || !payment || message.payment === payment)
    .slice(-SHOWN_MAX)
    .toReversed();
  return html`<section aria-labelledby="wire-title">
    <h2 id="wire-title">The wire <span class="state ${isLive ? 'good' : 'open'}">${isLive ? 'live' : 'waiting'}</span></h2>
    <div class="row">
      <label class="check"><input type="checkbox" checked=${raw} onChange=${(event) => setRaw(event.target.checked)} />raw</label>
      <label class="check"><input type="checkbox" checked=${!all} onChange=${(event) => setAll(!event.target.checked)} />the chosen payment alone</label>
    </div>
    <ol class="wire" aria-live="polite" aria-relevant="additions">${shown.map((message) => html`<${Message} key=${message.key} ...${message} raw=${raw} />`)}</ol>
    ${shown.length === 0 && html`<p>Nothing has been said yet. Connect a merchant, and pay.</p>`}
  </section>`;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

function Message({ what, from, at, sent, answer, accepted, violations = answer?.violations ?? [], reason, raw }) {
  const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, raw ? 0 : 2));
  const isOpen = from === 'Wix' && !answer;
  const code = answer?.body?.reasonCode ?? reason;
  return html`<li>
    <details>
      <summary>
        <span class="from">${from === 'Wix' ? 'Wix ->' : '-> Wix'}</span>
        <strong>${what}</strong>
        ${answer && html`<span>${answer.status}</span>`}
        ${code !== undefined && html`<span class="state open">${code}</span>`}
        ${accepted === false && html`<span class="state bad">not taken</span>`}
        ${isOpen ? html`<span class="state open">no answer yet</span>` : html`<span class="state ${violations.length ? 'bad' : 'good'}">${violations.length ? 'breaks the contract' : 'as the contract says'}</span>`}
        ${at && html`<time>${clock.format(new Date(at))}</time>`}
      </summary>
      ${violations.map((line) => html`<p class="problem">${line}</p>`)}
      <pre>${text(sent)}</pre>
      ${answer && html`<p>answered ${answer.status} after ${Math.round(answer.at - at)} ms</p><pre>${text(answer.body ?? '')}</pre>`}
    </details>
  </li>`;
}
