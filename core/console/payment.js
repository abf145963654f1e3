import { Ask, REASON } from './ask.js';
import { Commands } from './deliveries.js';
import { html, useEffect, useState } from './preact.js';
import { PAYMENTS, rpc, watch } from './rpc.js';
import { Id, minorUnits, money, Problem, State, sentence, Time, words } from './show.js';
import { Timeline } from './timeline.js';

/** What the relay does is not watched. */
const DELIVERIES_MS = 4_000;

export function Payment({ id, mayDecide }) {
  const [explained, setExplained] = useState();
  const [error, setError] = useState();
  const [asking, setAsking] = useState();
  const [looks, setLooks] = useState(0);
  const look = () => setLooks((count) => count + 1);

  useEffect(() => {
    const gone = new AbortController();
    rpc(PAYMENTS, 'ExplainTransaction', { id }, gone.signal).then(
      (answer) => {
        setExplained(answer);
        setError(undefined);
      },
      (caught) => gone.signal.aborted || setError(caught),
    );
    return () => gone.abort();
  }, [id, looks]);

  const transactionId = explained?.transaction?.id;
  useEffect(() => {
    if (!transactionId) return undefined;
    const gone = new AbortController();
    follow(transactionId, gone.signal, look);
    const timer = setInterval(look, DELIVERIES_MS);
    return () => {
      gone.abort();
      clearInterval(timer);
    };
  }, [transactionId]);

  if (!explained)
    return html`<h1>Payment</h1><${Problem} error=${error} /><p role="status">${error ? '' : 'Looking...'}</p>`;
  const { transaction: t, operations = [], events = [], reports = [], relayProblem, summary } = explained;
  const done = () => {
    setAsking(undefined);
    look();
  };
  return html`
    <h1>Payment <${Id} of=${t.externalId} /></h1>
    <p class="summary" aria-live="polite">${sentence(summary)}</p>
    <${Problem} error=${error} />
    <${Timeline} explained=${explained} />
    <dl class="facts">
      <div><dt>State</dt><dd><${State} of=${t.state} /></dd></div>
      <div><dt>Asked</dt><dd>${money(t.requestedAmount, t.currency)}, ${t.authorizeOnly ? 'authorize only' : 'sale'}</dd></div>
      <div><dt>Authorized</dt><dd>${money(t.authorizedAmount ?? 0, t.currency)}</dd></div>
      <div><dt>Captured</dt><dd>${money(t.capturedAmount ?? 0, t.currency)}</dd></div>
      <div><dt>Refunded</dt><dd>${money(t.refundedAmount ?? 0, t.currency)}</dd></div>
      <div><dt>Method</dt><dd>${t.paymentMethod || '-'} ${t.cardDetails ? `${t.cardDetails.bin}...${t.cardDetails.lastFour}` : ''}</dd></div>
      <div><dt>Mode</dt><dd>${words(t.mode)}</dd></div>
      <div><dt>Merchant of Wix</dt><dd><${Id} of=${t.externalMerchantId} /></dd></div>
      <div><dt>Our id</dt><dd><${Id} of=${t.id} /></dd></div>
    </dl>
    ${mayDecide && t.state === 'STATE_CAPTURED' && html`<div class="row"><button class="quiet" onClick=${() => setAsking(refundOf(t))}>Refund...</button></div>`}
    <h2>Operations, and what the engine said</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Operations">
      <table>
        <thead><tr><th scope="col">Kind</th><th scope="col">State</th><th scope="col" class="number">Amount</th><th scope="col">Begun</th><th scope="col">Ended or next</th><th scope="col">By</th><th scope="col">The engine's words</th><th scope="col">Request id</th><th scope="col"><span class="hidden">Commands</span></th></tr></thead>
        <tbody>${operations.map((operation) => html`<${Operation} ...${operation} currency=${t.currency} mayDecide=${mayDecide} settle=${() => setAsking(settleOf(operation, t))} />`)}</tbody>
      </table>
    </div>
    <h2>Events, and what Wix was told</h2>
    ${relayProblem && html`<p class="problem">Deliveries are not shown: ${relayProblem}</p>`}
    <ol class="events">${events.map((event) => html`<${Event} key=${event.id} ...${event} mayDecide=${mayDecide} onDone=${look} />`)}</ol>
    ${reports.length > 0 && html`<h2>Reports</h2><ul>${reports.map(({ kind, caller, outcome, reason, reportedAt }) => html`<li>${words(kind)} by ${caller}, <${Time} at=${reportedAt} />${reason && `: ${reason}`}<pre>${outcome}</pre></li>`)}</ul>`}
    ${asking && html`<${Ask} ...${asking} onDone=${done} onClose=${() => setAsking(undefined)} />`}`;
}

/** Looks again at every change, for as long as the page is open; a stream that ends because the payment rests is not begun again. */
async function follow(id, signal, look) {
  try {
    for await (const _ of watch(id, signal)) look();
  } catch {
    // The timer goes on looking.
  }
}

function Operation({
  operation: o,
  held,
  asks = 0,
  nextAt,
  processedAt,
  authorizationCode,
  currency,
  mayDecide,
  settle,
}) {
  const said = [o.reason && words(o.reason), o.errorMessage, o.processorReference, authorizationCode]
    .filter(Boolean)
    .join(', ');
  return html`<tr>
    <td>${words(o.kind)}</td>
    <td><${State} of=${held ? 'STATE_HELD' : o.state} /></td>
    <td class="number">${money(o.approvedAmount ?? o.amount, currency)}</td>
    <td><${Time} at=${o.createdAt} /></td>
    <td>${o.finishedAt ? html`<${Time} at=${o.finishedAt} />` : nextAt ? html`next <${Time} at=${nextAt} />, asked ${asks} times` : '-'}</td>
    <td>${o.caller}</td>
    <td>${said || '-'}${processedAt && html` (processed <${Time} at=${processedAt} />)`}</td>
    <td><${Id} of=${o.id} /></td>
    <td>${mayDecide && !o.finishedAt && (o.state === 'STATE_UNKNOWN' || o.state === 'STATE_WAITING') && html`<button class="quiet" onClick=${settle}>Settle...</button>`}</td>
  </tr>`;
}

function Event({ sequence, type, forWix, recordedAt, publishedAt, delivery, mayDecide, onDone }) {
  const { delivery: told, attempts = [], decisions = [], body } = delivery ?? {};
  return html`<li>
    <div class="row">
      <strong>${sequence} ${words(type)}</strong>
      ${forWix ? told && html`<${State} of=${told.stuck ? 'STATE_STUCK' : told.state} />` : html`<span class="state plain">never for Wix</span>`}
      <span>recorded <${Time} at=${recordedAt} />, ${publishedAt ? html`published <${Time} at=${publishedAt} />` : 'not published yet'}</span>
      ${mayDecide && told && html`<${Commands} delivery=${told} onDone=${onDone} />`}
    </div>
    ${forWix && told?.nextAttemptAt && html`<p>Next attempt <${Time} at=${told.nextAttemptAt} /></p>`}
    ${forWix && attempts.length > 0 && html`<ul class="attempts">${attempts.slice(-10).map(({ number, startedAt, durationMs = 0, httpStatus, error, answer }) => html`<li>attempt ${number}, <${Time} at=${startedAt} />: ${httpStatus ? `HTTP ${httpStatus}` : ''} ${error ?? ''} in ${durationMs} ms${error && answer ? html`<pre>${answer}</pre>` : ''}</li>`)}</ul>`}
    ${decisions.map(({ action, caller, reason, decidedAt }) => html`<p>${words(action)} by ${caller}, <${Time} at=${decidedAt} />: ${reason}</p>`)}
    ${forWix && body && html`<details><summary>What Wix reads</summary><pre>${JSON.stringify(JSON.parse(body), null, 2)}</pre></details>`}
  </li>`;
}

function refundOf(t) {
  // One key for as long as the question is open: pressed twice, or again after an error, it is one refund.
  const requestKey = `console-${crypto.randomUUID()}`;
  return {
    title: 'Refund',
    warning: 'The buyer gets money back, and Wix is told.',
    button: 'Refund now',
    fields: [
      {
        name: 'amount',
        label: `Amount in ${t.currency}`,
        value: money((BigInt(t.capturedAmount ?? 0) - BigInt(t.refundedAmount ?? 0)).toString(), t.currency).replace(
          / .*/,
          '',
        ),
      },
      {
        name: 'why',
        label: 'Why',
        options: [
          ['WHY_REQUESTED_BY_CUSTOMER', 'requested by the customer'],
          ['WHY_DUPLICATE', 'duplicate'],
          ['WHY_FRAUDULENT', 'fraudulent'],
        ],
      },
    ],
    run: ({ amount, why }) => {
      const minor = minorUnits(amount, t.currency);
      if (minor === undefined || minor === '0') throw new Error('This is no amount of the currency.');
      return rpc(PAYMENTS, 'RefundTransaction', { transactionId: t.id, requestKey, amount: minor, why });
    },
  };
}

function settleOf({ operation: o }, t) {
  return {
    title: `Settle the ${words(o.kind)}`,
    warning:
      'Says what became of it, in place of the engine. Ask the engine’s people first: this is booked, and Wix is told.',
    button: 'Settle now',
    fields: [
      {
        name: 'outcome',
        label: 'Outcome',
        options: [
          ['approved', 'approved: the money moved'],
          ['declined', 'declined'],
          ['failed', 'failed: nothing happened'],
        ],
      },
      {
        name: 'amount',
        label: `Amount in ${t.currency}, if approved`,
        required: false,
        value: o.amount === undefined ? '' : money(o.amount, t.currency).replace(/ .*/, ''),
      },
      {
        name: 'code',
        label: 'Reason of Wix, if declined',
        required: false,
        value: '3000',
        maxlength: 4,
        hint: 'such as 3012 for insufficient funds',
      },
      REASON,
    ],
    run: ({ outcome, amount, code, reason }) => {
      const minor = amount.trim() === '' ? undefined : minorUnits(amount, t.currency);
      // What is left out counts as asked for.
      if (outcome === 'approved' && amount.trim() !== '' && minor === undefined)
        throw new Error('This is no amount of the currency.');
      if (outcome === 'declined' && !/^[3-6]\d{3}$/.test(code))
        throw new Error('A reason of Wix has four digits, such as 3012.');
      const kinds = {
        approved: () => ({ amount: minor, currency: t.currency }),
        declined: () => ({ reason: Number(code) }),
        failed: () => ({}),
      };
      return rpc(PAYMENTS, 'ReportOutcome', {
        requestId: o.id,
        outcome: { [outcome]: kinds[outcome]() },
        override: true,
        overrideReason: reason,
      });
    },
  };
}
