import { pino } from 'pino';
import { counter } from './metrics.ts';
import { bounded } from './redact.ts';

// Business events by name, one JSON line for each.

type Write = (event: string, fields?: Record<string, unknown>) => void;

export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
  /** What a human must look at: one error line with alert=<name>, and the counter alerts_total{name} (R44). */
  alert: Write;
}

/** At a level of pino's, else info; to stdout unless another destination is given. An Error in the field `err` shows no input. */
export function createLog(service: string, level: string, destination?: { write(line: string): void }): Log {
  const options = {
    level: level in pino.levels.values ? level : 'info',
    base: { service },
    messageKey: 'event',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  const logger = pino(options, destination ?? stdout);
  const alerts = counter('alerts_total', 'Alerts raised, by name.', ['name']);
  return {
    debug: (event, fields = {}) => logger.debug(fields, event),
    info: (event, fields = {}) => logger.info(fields, event),
    warn: (event, fields = {}) => logger.warn(fields, event),
    error: (event, fields = {}) => logger.error(fields, event),
    alert: (name, fields) => {
      alerts.inc({ name });
      logger.error({ alert: name, ...fields }, name);
    },
  };
}

/** The lines of a turn of the event loop go in one system call. Whatever ends the process, but a kill, ends it after they are out. */
const stdout = (() => {
  const out = pino.destination({ fd: 1, sync: true });
  let lines = '';
  const flush = () => {
    const text = lines;
    lines = '';
    if (text !== '') out.write(text);
  };
  process.on('exit', flush);
  return {
    write(line: string) {
      if (lines === '') setImmediate(flush);
      lines += line;
    },
  };
})();

/** Name, code, message, stack and causes; no other property, and no message of a parser, since those quote what was parsed. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return bounded(String(error), MESSAGE_MAX);
  const { code } = error as { code?: unknown };
  const message = error instanceof SyntaxError ? '[not shown]' : bounded(error.message, MESSAGE_MAX);
  return {
    name: error.name,
    ...(code !== undefined && { code }),
    message,
    stack: bounded(
      (error.stack ?? '').replace(error.message, () => message),
      STACK_MAX,
    ),
    ...(error.cause !== undefined && { cause: describeError(error.cause) }),
  };
}

const MESSAGE_MAX = 2000;
const STACK_MAX = 8000;
