import type { MessageInitShape } from '@bufbuild/protobuf';
import { ConnectError, createClient } from '@connectrpc/connect';
import { z } from 'zod';
import { PaymentsService, type ReportOutcomeRequestSchema } from '../proto/gen/payments/v1/payments_service_pb.js';
import { Operation_Kind, Operation_State } from '../proto/gen/payments/v1/transaction_pb.js';
import { withToken } from '../proto/runtime/callers.ts';
import { flag, parseConfig, text, token } from '../proto/runtime/config.ts';
import { createGrpcTransport } from '../proto/runtime/grpc-transport.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { readTls, tlsEntries } from '../proto/runtime/tls.ts';
import { printable, runCommand, UsageError } from './command.ts';
import { readReason } from './duty.ts';

const HELP = `Says what became of an operation, in place of the engine: one that is held, or that the engine will never know. It is booked, and Wix is told.

  npm run settle -- REQUEST_ID --approved [--amount N] | --declined CODE | --failed  --reason TEXT [--dry-run]

  REQUEST_ID        the operation's id, by which the engine knows it; npm run explain shows it
  --approved        the money moved; --amount N in minor units where it is not what was asked
  --declined CODE   the engine declined it, for this reason of Wix, such as 3012
  --failed          nothing happened, for certain
  --reason TEXT     why you know; kept in core.reports with the name of your token
  --dry-run         shows the operation, and changes nothing
  --help

Needs CORE_URL (127.0.0.1:50051) and OPERATOR_TOKEN, a token of role operator in CORE_TOKENS; CORE_TLS_CA for a core with TLS. The core decides, and refuses
what contradicts what is known.
`;

const config = z
  .object({
    CORE_URL: text().default('127.0.0.1:50051'),
    OPERATOR_TOKEN: token(),
    ...tlsEntries('CORE'),
    ALLOW_PLAINTEXT: flag(false),
  })
  .superRefine(ensureSafety);

const CALL_MS = 10_000;
const OPEN = [Operation_State.RUNNING, Operation_State.WAITING, Operation_State.UNKNOWN];

if (import.meta.main)
  await runCommand({
    name: 'settle',
    help: HELP,
    options: {
      approved: { type: 'boolean' },
      amount: { type: 'string' },
      declined: { type: 'string' },
      failed: { type: 'boolean' },
      reason: { type: 'string' },
      'dry-run': { type: 'boolean' },
    },
    positionals: [1, 1],
    async run({ approved, amount, declined, failed, reason: given, 'dry-run': isDry }, [requestId = '']) {
      if ([approved, declined !== undefined, failed].filter(Boolean).length !== 1)
        throw new UsageError('one of --approved, --declined and --failed is needed');
      if (amount !== undefined && !(approved && /^\d{1,18}$/.test(amount)))
        throw new UsageError('--amount is in minor units, and goes with --approved');
      if (declined !== undefined && !/^\d{4}$/.test(declined))
        throw new UsageError('--declined needs a reason of Wix, such as 3012');
      const reason = readReason(given);
      const { CORE_URL: url, OPERATOR_TOKEN, ...rest } = parseConfig(config, process.env);
      const transport = createGrpcTransport({
        url,
        tls: readTls('CORE', rest),
        interceptors: [withToken(OPERATOR_TOKEN)],
        defaultTimeoutMs: CALL_MS,
      });
      const payments = createClient(PaymentsService, transport);
      try {
        const { transaction, operations, summary } = await payments.explainTransaction({ id: requestId });
        const operation = operations.find(({ operation: found }) => found?.id === requestId)?.operation;
        if (!operation || !transaction)
          throw new Error(
            `${requestId} is the id of a payment, not of an operation: npm run explain shows its request ids`,
          );
        process.stdout.write(
          `${printable(summary)}\n${Operation_Kind[operation.kind].toLowerCase()} ${operation.amount ?? ''} ${transaction.currency} is ${Operation_State[operation.state].toLowerCase()}\n`,
        );
        const report: MessageInitShape<typeof ReportOutcomeRequestSchema> = {
          requestId,
          override: true,
          overrideReason: reason,
          outcome: approved
            ? {
                kind: {
                  case: 'approved',
                  value: { amount: BigInt(amount ?? operation.amount ?? 0n), currency: transaction.currency },
                },
              }
            : declined
              ? { kind: { case: 'declined', value: { reason: Number(declined) } } }
              : { kind: { case: 'failed', value: {} } },
        };
        if (isDry) {
          const isOpen = OPEN.includes(operation.state);
          process.stdout.write(
            isOpen
              ? 'would settle it; nothing was changed\n'
              : 'it has an outcome: one that contradicts it would be kept, change nothing, and raise the alert contradiction\n',
          );
          return 0;
        }
        const { operation: settled } = await payments.reportOutcome(report);
        const after = await payments.explainTransaction({ id: requestId });
        process.stdout.write(
          `settled: the operation is ${Operation_State[settled?.state ?? 0]?.toLowerCase()}. ${printable(after.summary)}\n`,
        );
        return 0;
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        throw new Error(`the core: ${error.rawMessage}`);
      } finally {
        transport.close();
      }
    },
  });
