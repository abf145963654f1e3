import { PENDING_CODES } from './contract.ts';
import type { Instant, PaymentHistory, WixEvent } from './history.ts';
import { canonical, type JsonObject } from './json.ts';

// What a PSP may say of one payment in its answers to Create and in its transaction events, and in which order (Wix contract,
// 5.5, 8.7, 9.2, 9.3).

const STAGES = ['redirect', 'pending', 'final'] as const;
type Stage = (typeof STAGES)[number];

/** One thing said about the payment. */
interface Statement {
  readonly by: string;
  readonly stage: Stage;
  readonly said: JsonObject;
  /** In answer to a body that was not the payment's own, which need not be told of credentials on file. */
  readonly toOther: boolean;
  /** When the question was put; of an event, when it came. */
  readonly askedAt: Instant;
  readonly saidAt: Instant;
}

export function transactionViolations(payment: PaymentHistory): string[] {
  const events = payment.events.filter(({ kind }) => kind === 'transaction');
  const statements = [...answersOf(payment), ...events.map(statementOf)];
  return [...consistency(statements), ...progress(statements), ...eventOrder(events), ...pluginIds(statements)];
}

/** What was answered to the merchant whose payment this is; to anybody else the answer is another (3041). */
function answersOf({ exchanges }: PaymentHistory): Statement[] {
  const creates = exchanges.filter(({ operation }) => operation === 'create');
  const owner = creates[0];
  return creates.flatMap(({ request, answer, sentAt, answeredAt }) =>
    answer && owner && request.wixMerchantId === owner.request.wixMerchantId
      ? [
          {
            by: 'answer',
            stage: stageOf(answer),
            said: answer,
            toOther: canonical(request) !== canonical(owner.request),
            askedAt: sentAt,
            saidAt: answeredAt,
          },
        ]
      : [],
  );
}

function statementOf({ body, at }: WixEvent): Statement {
  return { by: 'event', stage: stageOf(body), said: body, toOther: false, askedAt: at, saidAt: at };
}

export function stageOf(body: JsonObject): Stage {
  if (body.redirectUrl !== undefined) return 'redirect';
  return PENDING_CODES.includes(body.reasonCode) ? 'pending' : 'final';
}

/** An event says what the answer said, a repeat says what was said before: one story for each stage (5.5, 8.7, 9.2). */
function consistency(statements: readonly Statement[]): string[] {
  return STAGES.flatMap((stage) => {
    const [first, ...others] = statements.filter((statement) => statement.stage === stage);
    return others
      .filter((other) => first && story(first, other) !== story(other, first))
      .map((other) => `${other.by} says ${toldBy(other)}, but the ${first?.by} said ${first && toldBy(first)}`);
  });
}

function story({ said, toOther }: Statement, beside: Statement): string {
  const { wixTransactionId: _id, authorizedAmount: _amount, credentialsOnFile, ...rest } = said;
  return canonical(
    toOther || beside.toOther ? rest : { ...rest, ...(credentialsOnFile !== undefined && { credentialsOnFile }) },
  );
}

/** Nobody is told an earlier stage who asked after a later one was known (9.2). Events among themselves have rules of their own. */
function progress(statements: readonly Statement[]): string[] {
  return statements
    .filter((later) => later.by === 'answer')
    .flatMap((later) => {
      const known = statements.find(
        (earlier) => earlier.saidAt <= later.askedAt && STAGES.indexOf(earlier.stage) > STAGES.indexOf(later.stage),
      );
      return known ? [`answer says ${later.stage} after the ${known.by} said ${known.stage}`] : [];
    });
}

/** The table of 9.3. A pending event that comes after the final one is made good by the same final event once more. */
function eventOrder(events: readonly WixEvent[]): string[] {
  return events.flatMap((event, i) => {
    const before = events.slice(0, i);
    const sameStage = before.find((earlier) => stageOf(earlier.body) === stageOf(event.body));
    const final = before.find((earlier) => stageOf(earlier.body) === 'final');
    const goodAgain = final && events.slice(i + 1).some((later) => later.text === final.text);
    return [
      ...(sameStage && sameStage.text !== event.text ? ['transaction event sent again with other bytes'] : []),
      ...(final && stageOf(event.body) === 'pending' && !goodAgain ? ['pending event after the final one'] : []),
    ];
  });
}

function pluginIds(statements: readonly Statement[]): string[] {
  const ids = new Set(statements.map(({ said }) => said.pluginTransactionId).filter((id) => id !== undefined));
  return ids.size > 1 ? [`pluginTransactionId is ${[...ids].join(' and ')}`] : [];
}

function toldBy({ said }: Statement): string {
  const { credentialsOnFile, ...rest } = said;
  return canonical({ ...rest, ...(credentialsOnFile !== undefined && { credentialsOnFile: '...' }) });
}
