import { Ask, REASON } from './ask.js';
import { html, useEffect, useState } from './preact.js';
import { DELIVERIES, rpc } from './rpc.js';
import { Id, Problem, State, Time, words } from './show.js';

const CHOICES = {
  stuck: { stuck: true },
  held: { states: ['STATE_HELD'] },
  parked: { states: ['STATE_PARKED'] },
  waiting: { states: ['STATE_WAITING'] },
  all: {},
};

export function Deliveries({ mayDecide }) {
  const [choice, setChoice] = useState('stuck');
  const [tokens, setTokens] = useState(['']);
  const [found, setFound] = useState();
  const [error, setError] = useState();
  const [asking, setAsking] = useState();
  const [looks, setLooks] = useState(0);
  const look = () => setLooks((count) => count + 1);
  useEffect(() => {
    const gone = new AbortController();
    setError(undefined);
    rpc(DELIVERIES, 'ListDeliveries', { selection: CHOICES[choice], pageToken: tokens.at(-1) }, gone.signal).then(
      setFound,
      (caught) => gone.signal.aborted || setError(missing(caught)),
    );
    return () => gone.abort();
  }, [choice, tokens, looks]);
  const choose = (event) => {
    setChoice(event.target.value);
    setTokens(['']);
  };
  const { deliveries = [], nextPageToken = '', paused } = found ?? {};
  const pauseOrResume = paused
    ? { title: 'Resume all deliveries', button: 'Resume', method: 'ResumeDeliveries' }
    : {
        title: 'Pause all deliveries',
        button: 'Pause',
        method: 'PauseDeliveries',
        warning: 'No relay begins another attempt until they are resumed. Events are still received.',
      };
  const done = () => {
    setAsking(undefined);
    look();
  };
  return html`
    <h1>Deliveries</h1>
    ${paused && html`<p class="problem" role="status">Paused by ${paused.caller}, <${Time} at=${paused.decidedAt} />: ${paused.reason}</p>`}
    <div class="filter">
      <label>Show<select value=${choice} onChange=${choose}>${Object.keys(CHOICES).map((name) => html`<option value=${name} selected=${name === choice}>${name}</option>`)}</select></label>
      <button class="quiet" onClick=${look}>Look again</button>
      ${mayDecide && found && html`<button class="quiet" onClick=${() => setAsking(pauseOrResume)}>${pauseOrResume.title}...</button>`}
    </div>
    <${Problem} error=${error} />
    <div class="scroll" tabindex="0" role="region" aria-label="Deliveries found">
      <table>
        <thead><tr><th scope="col">Received</th><th scope="col">Event</th><th scope="col">State</th><th scope="col" class="number">Attempts</th><th scope="col">Next</th><th scope="col">Payment</th><th scope="col"><span class="hidden">Commands</span></th></tr></thead>
        <tbody>
          ${deliveries.map(
            (d) => html`<tr key=${d.eventId}>
              <td><${Time} at=${d.receivedAt} /></td>
              <td>${words(d.type)}</td>
              <td><${State} of=${d.stuck ? 'STATE_STUCK' : d.state} /></td>
              <td class="number">${d.attempts ?? 0}</td>
              <td><${Time} at=${d.nextAttemptAt} /></td>
              <td><a href="#/payment/${d.transactionId}"><${Id} of=${d.transactionId} /></a></td>
              <td>${mayDecide && html`<${Commands} delivery=${d} onDone=${look} />`}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p role="status">${found && deliveries.length === 0 ? 'There are none.' : ''}</p>
    <div class="row">
      <button class="quiet" disabled=${tokens.length < 2} onClick=${() => setTokens(tokens.slice(0, -1))}>Newer</button>
      <button class="quiet" disabled=${!nextPageToken} onClick=${() => setTokens([...tokens, nextPageToken])}>Older</button>
    </div>
    ${asking && html`<${Ask} ...${asking} fields=${[REASON]} run=${({ reason }) => rpc(DELIVERIES, asking.method, { reason })} onDone=${done} onClose=${() => setAsking(undefined)} />`}`;
}

export const missing = (error) =>
  error.code === 'unimplemented' ? new Error('The core is not told where the webhook-relay is (RELAY_URL).') : error;

/** By state: what an operator can do about a delivery. */
const COMMANDS = {
  STATE_WAITING: ['redrive', 'park'],
  STATE_PARKED: ['unpark', 'skip'],
  STATE_HELD: ['redrive', 'skip'],
};

const TEXTS = {
  redrive: { title: 'Try again now', button: 'Try again' },
  park: {
    title: 'Park',
    button: 'Park',
    warning: 'It and the later events of its payment wait until it is unparked or skipped.',
  },
  unpark: { title: 'Unpark', button: 'Unpark' },
  skip: {
    title: 'Skip',
    button: 'Skip for ever',
    warning:
      'Wix never hears of it from here, and the later events of its payment go on as if it had. Cannot be undone.',
  },
};

const CALLS = {
  redrive: (eventId, reason) => ['RedriveDeliveries', { selection: { eventId }, reason }],
  park: (eventId, reason) => ['ParkDelivery', { eventId, reason }],
  unpark: (eventId, reason) => ['UnparkDelivery', { eventId, reason }],
  skip: (eventId, reason) => ['SkipDelivery', { eventId, reason }],
};

export function Commands({ delivery: { eventId, state, type }, onDone }) {
  const [asking, setAsking] = useState();
  const done = () => {
    setAsking(undefined);
    onDone();
  };
  const run = ({ reason }) => rpc(DELIVERIES, ...CALLS[asking](eventId, reason));
  return html`<span class="commands">
    ${(COMMANDS[state] ?? []).map((name) => html`<button class="quiet" onClick=${() => setAsking(name)} aria-label=${`${TEXTS[name].title}: ${words(type)}`}>${TEXTS[name].title}...</button>`)}
    ${asking && html`<${Ask} ...${TEXTS[asking]} fields=${[REASON]} run=${run} onDone=${done} onClose=${() => setAsking(undefined)} />`}
  </span>`;
}
