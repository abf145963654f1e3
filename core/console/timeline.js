import { html } from './preact.js';
import { relative, words } from './show.js';

// A payment's life as a line in time. What it shows stands in the tables below it too.

const WIDTH = 1000;
const ROWS = { operation: 18, event: 46, wix: 74 };
const LABELS = { operation: 'engine', event: 'event', wix: 'told Wix' };

export function Timeline({ explained }) {
  const marks = marksOf(explained);
  if (marks.length < 2) return null;
  const now = Date.parse(explained.readAt);
  const times = marks.flatMap(({ from, to }) => [from, to ?? from]);
  const start = Math.min(...times);
  const end = Math.max(...times, start + 1);
  const x = (time) => 90 + ((WIDTH - 110) * (time - start)) / (end - start);
  const span = `${((end - start) / 1000).toFixed(end - start < 10_000 ? 1 : 0)} s`;
  return html`<figure class="timeline">
    <svg viewBox="0 0 ${WIDTH} 92" role="img" aria-label=${`From ${relative(start, now)}, over ${span}: ${marks.map(({ name }) => name).join(', ')}`}>
      ${Object.entries(ROWS).map(
        ([row, y]) =>
          html`<text x="4" y=${y + 4}>${LABELS[row]}</text><line class="axis" x1="80" x2=${WIDTH} y1=${y} y2=${y} />`,
      )}
      ${marks.map(({ row, name, tone, from, to }) => {
        const y = ROWS[row];
        const width = to === undefined ? 0 : Math.max(0, x(to) - x(from));
        const shape =
          width > 8
            ? html`<rect x=${x(from)} y=${y - 5} width=${width} height="10" rx="3" />`
            : html`<circle cx=${x(from)} cy=${y} r="5" />`;
        return html`<g class=${tone}><title>${name}</title>${shape}</g>`;
      })}
    </svg>
    <figcaption>${span} from the first to the last</figcaption>
  </figure>`;
}

function marksOf({ operations = [], events = [], readAt }) {
  const now = Date.parse(readAt);
  return [
    ...operations.map(({ operation: { kind, state, createdAt, finishedAt } }) => ({
      row: 'operation',
      name: `${words(kind)} ${words(state)}`,
      tone: finishedAt ? (state === 'STATE_APPROVED' ? 'good' : 'bad') : 'open',
      from: Date.parse(createdAt),
      to: finishedAt ? Date.parse(finishedAt) : now,
    })),
    ...events.map(({ type, recordedAt }) => ({
      row: 'event',
      name: words(type),
      tone: 'plain',
      from: Date.parse(recordedAt),
    })),
    ...events.flatMap(({ type, delivery }) =>
      (delivery?.attempts ?? []).map(({ startedAt, error, httpStatus }) => ({
        row: 'wix',
        name: `${words(type)}: ${httpStatus ? `HTTP ${httpStatus}` : error}`,
        tone: error ? 'bad' : 'good',
        from: Date.parse(startedAt),
      })),
    ),
  ];
}
