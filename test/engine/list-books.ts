import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Books, openBooks } from './books.ts';

const HELP = `What the simulated engine really did, from its books.

  node test/engine/list-books.ts --data DIR [--json]

held: money on hold after this operation's part; taken: captured (returned with a minus). Minor units.
`;

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: './.data/engine' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(HELP);
else if (!existsSync(join(values.data, 'books.sqlite'))) {
  process.stderr.write(`There are no books in ${values.data}\n`);
  process.exitCode = 1;
} else {
  const books = openBooks(values.data, { readOnly: true });
  process.stdout.write(values.json ? asJson(books) : asTable(books));
  books.close();
}

function rows(books: Books) {
  return books.list().map((entry) => ({
    transactionId: entry.transactionId,
    operation: entry.sale ? 'sale' : entry.kind,
    outcome: entry.ended ? 'cancelled' : (entry.outcome.kind.case ?? ''),
    amount: entry.amount,
    currency: entry.currency,
    held: entry.held,
    taken: entry.taken,
    card: entry.lastFour,
    sends: books.calls(entry.requestId),
    requestId: entry.requestId,
  }));
}

function asJson(books: Books): string {
  const plain = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
  return `${JSON.stringify({ operations: rows(books), totals: books.totals() }, plain, 2)}\n`;
}

function asTable(books: Books): string {
  const lines = rows(books).map((row) => Object.values(row).map(String));
  const head = 'transaction operation outcome amount currency held taken card sends request'.split(' ');
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const isNumber = (column: number) => [3, 5, 6, 8].includes(column);
  const render = (line: string[]) =>
    line
      .map((cell, i) => (isNumber(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  const totals = books
    .totals()
    .map(
      ({ currency, operations, held, taken }) => `${currency}: ${operations} operations, ${held} held, ${taken} taken`,
    );
  return `${[render(head), ...lines.map(render), '', ...totals].join('\n')}\n`;
}
