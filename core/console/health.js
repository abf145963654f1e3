import { missing } from './deliveries.js';
import { html, useEffect, useState } from './preact.js';
import { DELIVERIES, rpc } from './rpc.js';
import { Problem, Time } from './show.js';

const LOOK_MS = 5_000;

/** Whether the services are well: what the relay says, and the metrics of this core's process. */
export function Health() {
  const [status, setStatus] = useState();
  const [metrics, setMetrics] = useState();
  const [error, setError] = useState();
  useEffect(() => {
    const gone = new AbortController();
    const look = () => {
      rpc(DELIVERIES, 'GetStatus', {}, gone.signal).then(
        (answer) => {
          setStatus(answer);
          setError(undefined);
        },
        (caught) => gone.signal.aborted || setError(missing(caught)),
      );
      fetch('/metrics', { signal: gone.signal })
        .then((response) => response.text())
        .then(
          (text) => setMetrics(read(text)),
          () => undefined,
        );
    };
    look();
    const timer = setInterval(look, LOOK_MS);
    return () => {
      gone.abort();
      clearInterval(timer);
    };
  }, []);
  const of = (name) => metrics?.filter((metric) => metric.name === name) ?? [];
  const sum = (name) => (of(name).length > 0 ? of(name).reduce((total, { value }) => total + value, 0) : '-');
  const alerts = of('alerts_total').filter(({ value }) => value > 0);
  return html`
    <h1>Health</h1>
    <h2>Telling Wix</h2>
    <${Problem} error=${error} />
    ${status?.paused && html`<p class="problem">All deliveries are paused by ${status.paused.caller}, <${Time} at=${status.paused.decidedAt} />: ${status.paused.reason}</p>`}
    ${
      status &&
      html`<dl class="facts">
      <div><dt>Wix takes events</dt><dd><span class="state ${status.breakerOpen ? 'bad' : 'good'}">${status.breakerOpen ? 'no: one probe at a time' : 'yes'}</span></dd></div>
      <div><dt>Attempts at once</dt><dd>${status.attemptsAtOnce ?? 0}</dd></div>
      <div><dt>Open</dt><dd>${status.open ?? 0}</dd></div>
      <div><dt>Stuck</dt><dd>${status.stuck ?? 0}</dd></div>
      <div><dt>Held</dt><dd>${status.held ?? 0}</dd></div>
      <div><dt>Parked</dt><dd>${status.parked ?? 0}</dd></div>
      <div><dt>Oldest due for</dt><dd>${Math.round(status.oldestDueSeconds ?? 0)} s</dd></div>
    </dl>`
    }
    <h2>Alerts since this core started</h2>
    ${
      alerts.length === 0
        ? html`<p role="status">${metrics ? 'None.' : 'Looking...'}</p>`
        : html`<table><thead><tr><th scope="col">Alert</th><th scope="col" class="number">Times</th></tr></thead><tbody>${alerts.map(({ labels, value }) => html`<tr><td><code>${labels.name}</code></td><td class="number">${value}</td></tr>`)}</tbody></table>
        <p>docs/OPERATIONS.md has a paragraph for each, with the first command to run.</p>`
    }
    <h2>This core</h2>
    <dl class="facts">
      <div><dt>Calls in flight</dt><dd>${sum('calls_in_flight')}</dd></div>
      <div><dt>Calls waiting</dt><dd>${sum('calls_waiting')}</dd></div>
      <div><dt>Calls shed</dt><dd>${sum('calls_shed_total')}</dd></div>
      <div><dt>Events</dt><dd>${sum('payment_events_total')}</dd></div>
    </dl>`;
}

/** Prometheus' text format: names, labels and values. */
function read(text) {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (!name) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}
