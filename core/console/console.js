import { Deliveries } from './deliveries.js';
import { Health } from './health.js';
import { Payment } from './payment.js';
import { html, render, useEffect, useState } from './preact.js';
import { PAYMENTS, rpc, signIn, signOut } from './rpc.js';
import { Id, minorUnits, money, Problem, State, Time } from './show.js';

function App() {
  const [user, setUser] = useState();
  const [route, setRoute] = useState(location.hash);
  useEffect(() => {
    const follow = () => setRoute(location.hash);
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  if (!user) return html`<${SignIn} onDone=${setUser} />`;
  const [, view = 'payments', id] = route.split('/').map(decodeURIComponent);
  const leave = () => {
    signOut();
    setUser(undefined);
  };
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      document.getElementById('main').focus();
    }}>Skip to the content</a>
    <header>
      <strong>Payments console</strong>
      <nav aria-label="Views">
        ${['payments', 'deliveries', 'health'].map((name) => html`<a href="#/${name}" aria-current=${view === name ? 'page' : undefined}>${name}</a>`)}
      </nav>
      <${Finder} />
      <span class="role">${user.mayDecide ? 'operator' : 'reader'}</span>
      <button class="quiet" onClick=${leave}>Sign out</button>
    </header>
    <main id="main" tabindex="-1">
      ${view === 'payment' && id ? html`<${Payment} key=${id} id=${id} mayDecide=${user.mayDecide} />` : null}
      ${view === 'deliveries' ? html`<${Deliveries} mayDecide=${user.mayDecide} />` : null}
      ${view === 'health' ? html`<${Health} />` : null}
      ${view === 'payments' || !['payment', 'deliveries', 'health'].includes(view) ? html`<${Payments} />` : null}
    </main>`;
}

function SignIn({ onDone }) {
  const [error, setError] = useState();
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      onDone(await signIn(event.target.elements.token.value.trim()));
    } catch (caught) {
      setError(caught.code === 'unauthenticated' ? new Error('The core does not know this token.') : caught);
      setBusy(false);
    }
  };
  return html`<main class="signin">
    <form onSubmit=${submit}>
      <h1>Payments console</h1>
      <label>Token of role reader or operator<input name="token" type="password" required autocomplete="off" autofocus /></label>
      <small>It stays in the memory of this page, and is gone when you leave or reload it.</small>
      <${Problem} error=${error} />
      <button disabled=${busy}>Sign in</button>
    </form>
  </main>`;
}

/** Finds one payment by any of its ids. */
function Finder() {
  const go = (event) => {
    event.preventDefault();
    const id = event.target.elements.id.value.trim();
    if (id) location.hash = `#/payment/${encodeURIComponent(id)}`;
  };
  return html`<form role="search" onSubmit=${go}>
    <input name="id" aria-label="Any id of a payment" placeholder="wixTransactionId, refund or request id" maxlength="200" autocomplete="off" spellcheck="false" />
    <button>Find</button>
  </form>`;
}

const STATES = [
  'AUTHORIZING',
  'AWAITING_BUYER',
  'PENDING',
  'AUTHORIZED',
  'CAPTURING',
  'VOIDING',
  'CAPTURED',
  'VOIDED',
  'EXPIRED',
  'DECLINED',
];

function readFilter(form) {
  const { state, merchant, amount, currency, from, before } = Object.fromEntries(new FormData(form));
  const code = currency.trim().toUpperCase();
  const minor = amount ? minorUnits(amount, code) : undefined;
  if (amount && (!code || minor === undefined)) throw new Error('An amount needs its currency, such as 12.50 EUR.');
  return {
    ...(state && { states: [`STATE_${state}`] }),
    ...(merchant.trim() && { externalMerchantId: merchant.trim() }),
    ...(minor !== undefined && { amount: minor, currency: code }),
    ...(from && { createdFrom: new Date(from).toISOString() }),
    ...(before && { createdBefore: new Date(before).toISOString() }),
  };
}

function Payments() {
  const [filter, setFilter] = useState({});
  const [page, setPage] = useState({ tokens: [''] });
  const [found, setFound] = useState();
  const [error, setError] = useState();
  useEffect(() => {
    const gone = new AbortController();
    setError(undefined);
    rpc(PAYMENTS, 'ListTransactions', { ...filter, pageSize: 50, pageToken: page.tokens.at(-1) }, gone.signal).then(
      setFound,
      (caught) => gone.signal.aborted || setError(caught),
    );
    return () => gone.abort();
  }, [filter, page]);
  const search = (event) => {
    event.preventDefault();
    try {
      setFilter(readFilter(event.target));
      setPage({ tokens: [''] });
    } catch (caught) {
      setError(caught);
    }
  };
  const { transactions = [], nextPageToken = '' } = found ?? {};
  return html`
    <h1>Payments</h1>
    <form class="filter" onSubmit=${search}>
      <label>State<select name="state"><option value="">any</option>${STATES.map((state) => html`<option value=${state}>${state.toLowerCase().replaceAll('_', ' ')}</option>`)}</select></label>
      <label>Merchant of Wix<input name="merchant" maxlength="200" autocomplete="off" /></label>
      <label>Amount<input name="amount" inputmode="decimal" size="9" autocomplete="off" /></label>
      <label>Currency<input name="currency" size="4" maxlength="3" autocomplete="off" /></label>
      <label>From<input name="from" type="datetime-local" /></label>
      <label>Before<input name="before" type="datetime-local" /></label>
      <button>Search</button>
    </form>
    <${Problem} error=${error} />
    <div class="scroll" tabindex="0" role="region" aria-label="Payments found">
      <table>
        <thead><tr><th scope="col">Begun</th><th scope="col">State</th><th scope="col" class="number">Asked</th><th scope="col" class="number">Captured</th><th scope="col" class="number">Refunded</th><th scope="col">Method</th><th scope="col">Payment of Wix</th></tr></thead>
        <tbody>
          ${transactions.map(
            (t) => html`<tr key=${t.id}>
              <td><${Time} at=${t.createdAt} /></td>
              <td><${State} of=${t.state} /></td>
              <td class="number">${money(t.requestedAmount, t.currency)}</td>
              <td class="number">${money(t.capturedAmount ?? 0, t.currency)}</td>
              <td class="number">${money(t.refundedAmount ?? 0, t.currency)}</td>
              <td>${t.paymentMethod ?? ''}</td>
              <td><a href="#/payment/${t.id}"><${Id} of=${t.externalId} /></a></td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p role="status">${found && transactions.length === 0 ? 'No payment fits.' : ''}</p>
    <div class="row">
      <button class="quiet" disabled=${page.tokens.length < 2} onClick=${() => setPage({ tokens: page.tokens.slice(0, -1) })}>Newer</button>
      <button class="quiet" disabled=${!nextPageToken} onClick=${() => setPage({ tokens: [...page.tokens, nextPageToken] })}>Older</button>
    </div>`;
}

render(html`<${App} />`, document.getElementById('app'));
