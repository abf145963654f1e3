import { html, render, useEffect, useState } from './preact.js';
import { minorUnits, money, Problem } from './show.js';
import { messagesOf, useWire, Wire } from './wire.js';

async function ask(name, given) {
  const init = given && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(given),
  };
  const response = await fetch(name, init);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message ?? `status ${response.status}`);
  return answer;
}

const SHOP = {
  success: 'Thank you: the shop has your order.',
  error: 'The payment did not go through. The shop offers another try.',
  cancel: 'The buyer gave up, and is back in the cart.',
  pending: 'The shop says: your payment is being checked.',
};

function App() {
  const { entries, isLive } = useWire();
  const [state, setState] = useState();
  const [error, setError] = useState();
  const [chosen, setChosen] = useState(location.hash.slice(1));
  const messages = messagesOf(entries);
  useEffect(() => {
    ask('state').then(setState, setError);
  }, [entries.length]);
  const [merchant, setMerchant] = useState('');
  useEffect(() => {
    if (!merchant && state?.merchants.length) setMerchant(state.merchants.at(-1));
  }, [state]);
  const attempt = (work) => {
    setError(undefined);
    return work().catch(setError);
  };
  const arrived = new URLSearchParams(location.search).get('shop');
  if (!state) return html`<main><h1>Workbench</h1><${Problem} error=${error} /></main>`;
  return html`
    <header>
      <strong>Workbench: you are Wix</strong>
      <span>${state.violations === 0 ? 'the contract was kept in every message' : html`<span class="state bad">${state.violations} broke the contract</span>`}, ${state.untold} outcomes to be told</span>
    </header>
    <main id="main">
      <h1 class="hidden">Workbench</h1>
      ${arrived && SHOP[arrived] && html`<p class="shop" role="status"><strong>${arrived}</strong> page of the shop. ${SHOP[arrived]}</p>`}
      <${Problem} error=${error} />
      <div class="columns">
        <div>
          <${Connect} merchants=${state.merchants} merchant=${merchant} setMerchant=${setMerchant} attempt=${attempt} />
          <${Checkout} means=${state.means} merchant=${merchant} attempt=${attempt} setChosen=${setChosen} />
          <${Trouble} state=${state} attempt=${attempt} />
        </div>
        <div>
          <${Payments} messages=${messages} known=${state.payments} chosen=${chosen} setChosen=${setChosen} attempt=${attempt} />
        </div>
        <${Wire} messages=${messages} payment=${chosen} isLive=${isLive} />
      </div>
    </main>`;
}

function Connect({ merchants, merchant, setMerchant, attempt }) {
  const connect = (event) => {
    event.preventDefault();
    const apiKey = event.target.elements.apiKey.value;
    attempt(async () => {
      const answer = await ask('connect', { apiKey });
      const { reasonCode, errorMessage } = JSON.parse(answer.text || '{}');
      if (reasonCode) throw new Error(`The connector refused: ${reasonCode} ${errorMessage ?? ''}`);
      setMerchant(answer.merchant);
    });
  };
  return html`<section aria-labelledby="merchant-title">
    <h2 id="merchant-title">1. A merchant</h2>
    <form class="filter" onSubmit=${connect}>
      <label>apiKey that the merchant types in<input name="apiKey" value="test" maxlength="100" required autocomplete="off" /></label>
      <button>Connect</button>
    </form>
    ${merchants.length > 0 && html`<label>Merchant<select value=${merchant} onChange=${(event) => setMerchant(event.target.value)}>${merchants.map((each) => html`<option value=${each} selected=${each === merchant}>${each}</option>`)}</select></label>`}
    <small>The apiKey "invalid" is refused.</small>
  </section>`;
}

function Checkout({ means, merchant, attempt, setChosen }) {
  const [picked, setPicked] = useState(0);
  const [busy, setBusy] = useState(false);
  const pay = (event) => {
    event.preventDefault();
    const { amount, currency, authorizeOnly } = event.target.elements;
    const code = currency.value.trim().toUpperCase();
    setBusy(true);
    attempt(async () => {
      const minor = minorUnits(amount.value, code);
      if (minor === undefined) throw new Error('This is no amount of the currency.');
      const { outcome: _, ...by } = means[picked];
      const answer = await ask('pay', {
        merchant,
        ...by,
        amount: minor,
        currency: code,
        authorizeOnly: authorizeOnly.checked,
      });
      setChosen(answer.payment);
    }).finally(() => setBusy(false));
  };
  return html`<section aria-labelledby="checkout-title">
    <h2 id="checkout-title">2. A checkout</h2>
    <form onSubmit=${pay}>
      <div class="filter">
        <label>Amount<input name="amount" value="45.90" size="8" required inputmode="decimal" autocomplete="off" /></label>
        <label>Currency<input name="currency" value="EUR" size="4" maxlength="3" required autocomplete="off" /></label>
        <label class="check"><input name="authorizeOnly" type="checkbox" />authorize only</label>
        <button disabled=${busy || !merchant}>Pay</button>
      </div>
      <fieldset>
        <legend>Paid with</legend>
        <div class="means" tabindex="0" role="group" aria-label="Test cards and methods">
          ${means.map((each, index) => html`<label class="mean"><input type="radio" name="means" checked=${index === picked} onChange=${() => setPicked(index)} /><code>${each.number ?? each.wallet ?? (each.method || 'hosted page')}</code><span>${each.outcome}</span></label>`)}
        </div>
      </fieldset>
    </form>
  </section>`;
}

function Trouble({ state, attempt }) {
  const [fault, setFault] = useState('none');
  return html`<section aria-labelledby="trouble-title">
    <h2 id="trouble-title">3. Trouble</h2>
    <div class="filter">
      <label>Wix, when it is told<select value=${state.failure} onChange=${(event) => attempt(() => ask('wix', { failure: event.target.value }))}>${state.failures.map((name) => html`<option value=${name} selected=${name === state.failure}>${name === 'none' ? 'takes every event' : name}</option>`)}</select></label>
      <label>The engine<select value=${fault} onChange=${(event) => {
        setFault(event.target.value);
        attempt(() => ask('engine', { fault: event.target.value }));
      }}>${['none', 'is down', 'loses its answers'].map((name) => html`<option value=${name}>${name === 'none' ? 'answers' : name}</option>`)}</select></label>
    </div>
  </section>`;
}

/** What Wix knows of a payment, by the wire. */
function standOf(messages, payment) {
  const own = messages.filter((message) => message.payment === payment);
  const create = own.find(({ what }) => what === 'create');
  const told = own.filter(({ what, accepted }) => what === 'event: transaction' && accepted).at(-1);
  const refunds = own.filter(
    ({ what, accepted, reason }) => what === 'event: refund' && accepted && reason === undefined,
  );
  const last = (name) =>
    own.some(({ what, accepted, reason }) => what === `event: ${name}` && accepted && reason === undefined);
  const { totalAmount = '0', currency = '' } = create?.sent.order?.description ?? {};
  const stand = last('void')
    ? 'voided'
    : !told
      ? 'not told yet'
      : told.reason === undefined
        ? create?.sent.authorizeOnly && !last('capture')
          ? 'authorized'
          : 'captured'
        : [5005, 5009].includes(told.reason)
          ? `pending ${told.reason}`
          : `declined ${told.reason}`;
  const refunded = refunds.reduce((sum, { sent }) => sum + BigInt(sent.event.refund.amount), 0n);
  return { stand, amount: String(totalAmount), currency, refunded, redirectUrl: create?.answer?.body?.redirectUrl };
}

function Payments({ messages, known, chosen, setChosen, attempt }) {
  return html`<section aria-labelledby="payments-title">
    <h2 id="payments-title">The merchant's side</h2>
    ${known.length === 0 && html`<p>No payment yet.</p>`}
    <ol class="payments">${known
      .toReversed()
      .slice(0, 30)
      .map(
        (payment) =>
          html`<${Payment} key=${payment} payment=${payment} isChosen=${payment === chosen} choose=${() => setChosen(payment)} attempt=${attempt} ...${standOf(messages, payment)} />`,
      )}</ol>
  </section>`;
}

function Payment({ payment, isChosen, choose, attempt, stand, amount, currency, refunded, redirectUrl }) {
  const [written, setPart] = useState();
  const part = written ?? money(amount, currency).replace(/ .*/, '');
  const [refund, setRefund] = useState();
  const tone = /^(captured|authorized|voided)/.test(stand) ? 'good' : stand.startsWith('declined') ? 'bad' : 'open';
  const call = (name, given) =>
    attempt(async () => {
      const answer = await ask(name, { payment, ...given });
      if (answer.wixRefundId) setRefund({ wixRefundId: answer.wixRefundId, ...given });
    });
  const withPart = (name) => () => {
    const minor = minorUnits(part, currency);
    return minor === undefined
      ? attempt(() => Promise.reject(new Error('This is no amount of the currency.')))
      : call(name, { amount: minor });
  };
  return html`<li class=${isChosen ? 'chosen' : ''}>
    <div class="row">
      <button class="quiet" aria-pressed=${isChosen} onClick=${choose}>${money(amount, currency)}</button>
      <span class="state ${tone}">${stand}</span>
      ${refunded > 0n && html`<span>refunded ${money(refunded, currency)}</span>`}
    </div>
    ${
      isChosen &&
      html`
      <p><code class="id">${payment}</code></p>
      ${redirectUrl && stand !== 'captured' && !stand.startsWith('declined') && html`<p><a href=${redirectUrl}>The buyer goes to the engine's page</a></p>`}
      <div class="filter">
        <label>Amount<input value=${part} size="8" onInput=${(event) => setPart(event.target.value)} autocomplete="off" /></label>
        <button class="quiet" onClick=${withPart('capture')}>Capture</button>
        <button class="quiet" onClick=${() => call('void', {})}>Void</button>
        <button class="quiet" onClick=${withPart('refund')}>Refund</button>
        <button class="quiet" onClick=${() => call('again', {})}>Repeat the create</button>
        ${refund && html`<button class="quiet" onClick=${() => call('refund', refund)}>Repeat the refund</button>`}
      </div>`
    }
  </li>`;
}

render(html`<${App} />`, document.getElementById('app'));
