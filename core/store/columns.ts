import { toRecords } from '../../proto/runtime/database.ts';

// A property of a row's interface and its column have the same name, one in camelCase and the other in snake_case.

const columns = new Map<string, string>();

function columnOf(property: string): string {
  const column = columns.get(property) ?? property.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  columns.set(property, column);
  return column;
}

/** A select list: each column under its property's name. */
export function selectList(properties: readonly string[]): string {
  return properties.map((property) => `${columnOf(property)} as "${property}"`).join(', ');
}

/** Names of columns, each behind `prefix`. */
export function columnList(properties: readonly string[], prefix = ''): string {
  return properties.map((property) => prefix + columnOf(property)).join(', ');
}

/** Rows as a parameter for json_populate_recordset with the table's type: these properties of them. */
export function toTableRows<Row extends object>(
  rows: readonly Row[],
  properties: readonly (keyof Row & string)[],
): string {
  return toRecords(
    rows.map((row) =>
      Object.fromEntries(
        properties.map((property) => {
          const value = row[property];
          return [columnOf(property), value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : value];
        }),
      ),
    ),
  );
}
