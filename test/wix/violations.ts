import { followUpViolations, isAcceptedApproval, succeeded } from './follow-up-rules.ts';
import { type Entry, exchangesOf, type PaymentHistory, paymentsOf } from './history.ts';
import { canonical } from './json.ts';
import { stageOf, transactionViolations } from './payment-rules.ts';

/** Everything by which a PSP broke the contract in this traffic, one readable line each. Pure. */
export function violationsOf(history: readonly Entry[]): string[] {
  const payments = paymentsOf(history);
  return [
    ...history.flatMap((entry) => (entry.type === 'call' ? [] : entry.violations)),
    ...payments.flatMap((payment) =>
      [...transactionViolations(payment), ...followUpViolations(payment), ...stranger(payment, payments)].map(
        (violation) => `${payment.wixTransactionId}: ${violation}`,
      ),
    ),
    ...accountIds(history),
  ];
}

/** Events are about payments that Wix made. Where it made none, only the sender of events is under test. */
function stranger({ exchanges }: PaymentHistory, payments: readonly PaymentHistory[]): string[] {
  return exchanges.length === 0 && payments.some((other) => other.exchanges.length > 0)
    ? ['event about a payment that Wix never asked for']
    : [];
}

/** A merchant who connects again with the same credentials is the same account (4.3, 9.1). */
function accountIds(history: readonly Entry[]): string[] {
  const connects = exchangesOf(history).filter(({ operation, answer }) => operation === 'connect' && answer?.accountId);
  const groups = Map.groupBy(connects, ({ request }) => canonical([request.wixMerchantId, request.credentials]));
  return [...groups.values()].flatMap((same) => {
    const ids = new Set(same.map(({ answer }) => answer?.accountId));
    return ids.size > 1 ? [`merchant ${same[0]?.request.wixMerchantId}: accountId is ${[...ids].join(' and ')}`] : [];
  });
}

/** What was answered and not yet told by an event that Wix accepted (8.7). Empty once a PSP has delivered everything. Pure. */
export function untoldOf(history: readonly Entry[]): string[] {
  return paymentsOf(history).flatMap((payment) =>
    [...untoldTransaction(payment), ...untoldFollowUps(payment)].map((line) => `${payment.wixTransactionId}: ${line}`),
  );
}

function untoldTransaction({ exchanges, events }: PaymentHistory): string[] {
  const owner = exchanges.find(({ operation }) => operation === 'create')?.request.wixMerchantId;
  const answered = exchanges.flatMap(({ operation, request, answer }) =>
    operation === 'create' && answer && request.wixMerchantId === owner ? [stageOf(answer)] : [],
  );
  const told = events
    .filter(({ kind, accepted }) => kind === 'transaction' && accepted)
    .map(({ body }) => stageOf(body));
  if (answered.includes('final')) return told.includes('final') ? [] : ['its final state'];
  return answered.includes('pending') && told.length === 0 ? ['its pending state'] : [];
}

function untoldFollowUps({ exchanges, events }: PaymentHistory): string[] {
  const accepted = events.filter((event) => event.accepted);
  // The refusal of a refund on a payment that ends declined is not for Wix (U17), nor one of nothing or whose amount nobody knows.
  const declined = !accepted.some(isAcceptedApproval);
  return exchanges.flatMap(({ operation, request, answer }) => {
    if (!answer) return [];
    if (operation === 'refund') {
      const silent = !succeeded(answer) && (declined || !/^[1-9]\d*$/.test(String(request.refundAmount)));
      if (answer.pluginRefundId === undefined || silent) return [];
      return accepted.some(({ body }) => body.wixRefundId === request.wixRefundId)
        ? []
        : [`its refund ${request.wixRefundId}`];
    }
    if ((operation !== 'capture' && operation !== 'void') || !succeeded(answer)) return [];
    return accepted.some(({ kind, body }) => kind === operation && succeeded(body)) ? [] : [`its ${operation}`];
  });
}
