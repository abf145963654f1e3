import type { Change } from '../../../core/decide.ts';
import { isOpen } from '../../../core/operation.ts';
import type { LearnedOutcome } from '../../../core/outcome.ts';
import type { Reception } from '../../../core/transaction.ts';
import { RULES, type Rules } from './rules.ts';

// Rules broken on purpose, one at a time: the explorer must find what each of them costs.

type Decide = Rules['decide'];

/** Hears something else than was said. */
function mishear(hear: (...heard: Parameters<Decide>) => LearnedOutcome): Partial<Rules> {
  return {
    decide: (payment, operations, operation, said, now, options) =>
      RULES.decide(
        payment,
        operations,
        operation,
        hear(payment, operations, operation, said, now, options),
        now,
        options,
      ),
  };
}

/** Forgets a part of what follows. */
function forget(keep: (change: Change, said: LearnedOutcome) => Change): Partial<Rules> {
  return { decide: (...heard) => keep(RULES.decide(...heard), heard[3]) };
}

function without(change: Change, ...parts: ('begin' | 'closeCancel')[]): Change {
  return Object.fromEntries(
    Object.entries(change).filter(([part]) => !parts.some((other) => other === part)),
  ) as unknown as Change;
}

const NOTHING: Change = { transaction: {}, operation: {} };

export const MUTATIONS: Readonly<Record<string, Partial<Rules>>> = {
  'R19 an unknown outcome taken for a decline': mishear((_payment, _operations, _operation, said) =>
    said.trigger === 'unknown' ? { trigger: 'failed' } : said,
  ),
  'R19 a pending refund taken for a failed one': mishear((_payment, _operations, { kind }, said) =>
    kind === 'refund' && said.trigger === 'pending' ? { trigger: 'failed' } : said,
  ),
  'R18 a failure of the first send believed after reconciliation asked': mishear(
    (_payment, _operations, _operation, { unlessAsked: _, ...said }) => said,
  ),
  'R46 an operation written on what was read of it before a claim': { isAsRead: () => true },
  'R46 a claimed operation not looked at again before it is sent': { looksAgain: false },
  'R18 an approval of another amount taken for an approval': mishear((_payment, _operations, _operation, said) =>
    said.trigger === 'misfit' ? { ...said, trigger: 'approved' } : said,
  ),
  'R18 U3 an approval of a part taken without consent': {
    readOutcome: (payment, ...said) => RULES.readOutcome({ ...payment, allowPartial: true }, ...said),
  },
  'R18 U3 an approval of a part booked as the whole': mishear((_payment, _operations, { kind, amount }, said) =>
    kind === 'authorize' && said.trigger === 'approved' && amount !== null ? { ...said, amount } : said,
  ),
  'R1 no pending when the budget is over': forget((change, said) =>
    said.trigger === 'budget_over' ? NOTHING : change,
  ),
  'R15 an authorize sent again': {
    afterNotFound: (operation, now) =>
      operation.kind === 'authorize' ? 'resend' : RULES.afterNotFound(operation, now),
  },
  'R15 what the processor does not know left alone': { afterNotFound: () => 'alert' },
  'R15 an engine without tombstones': { tombstones: false },
  'R16 a Cancel taken for confirmed while it is pending': {
    isEnded: (answer): answer is 'ended' => answer === 'ended' || answer.kind.case === 'pending',
  },
  'R16 a cancel that is not closed by the end of its payment': forget((change) => without(change, 'closeCancel')),
  'R16 buyers who left waited for': forget((change, said) => (said.trigger === 'past_expiry' ? NOTHING : change)),
  'R16 a buyer cancelled whose time was extended': {
    decide: (payment, operations, operation, said, now, options) => {
      const expiresAt = new Date(0);
      return said.trigger === 'past_expiry'
        ? RULES.decide(payment, operations, { ...operation, expiresAt }, { ...said, expiresAt }, now, options)
        : RULES.decide(payment, operations, operation, said, now, options);
    },
  },
  'R16 the time of the buyer kept for a pending payment': forget((change, said) => {
    const { expiresAt, ...operation } = change.operation;
    return said.trigger === 'pending' && !expiresAt ? { ...change, operation } : change;
  }),
  'R36 a buyer who has come back awaited all the same': forget((change, said) =>
    said.trigger === 'buyer_returned' ? NOTHING : change,
  ),
  'R36 a buyer sent to success before anybody knows': {
    shopPage: (payment) => (payment.state === 'pending' ? 'success' : RULES.shopPage(payment)),
  },
  'R36 a buyer who was declined taken for one who gave up': {
    shopPage: (payment) => (payment.state === 'declined' ? 'cancel' : RULES.shopPage(payment)),
  },
  'R36 a buyer who has come back declined while the engine still waits': mishear(
    (_payment, _operations, _operation, said) => (said.trigger === 'buyer_returned' ? { trigger: 'declined' } : said),
  ),
  'R36 a buyer who comes a second time taken for one who gave up': mishear(
    ({ state }, _operations, _operation, said) =>
      said.trigger === 'buyer_returned' && state === 'pending' ? { trigger: 'declined' } : said,
  ),
  'R36 a buyer who comes while the cancel runs taken for its end': mishear((_payment, operations, _operation, said) =>
    said.trigger === 'buyer_returned' && operations.some((other) => other.kind === 'cancel' && isOpen(other))
      ? { trigger: 'cancel_confirmed' }
      : said,
  ),
  'R17 no reversal of what must not be approved': forget((change) =>
    change.begin?.kind === 'reversal' ? without(change, 'begin') : change,
  ),
  'R17 an approval of a declined payment told to Wix': {
    decide: (payment, operations, operation, said, now, options) => {
      const isLate = payment.state === 'declined' && operation.kind === 'authorize' && said.trigger === 'approved';
      const reopened = isLate ? { ...payment, state: 'pending' as const } : payment;
      return RULES.decide(reopened, operations, operation, said, now, options);
    },
  },
  'R24 a decline of an approved payment believed': {
    decide: (payment, operations, operation, said, now, options) => {
      const isWrong = payment.state === 'captured' && operation.kind === 'authorize' && said.trigger === 'declined';
      const reopened = isWrong ? { ...payment, state: 'pending' as const } : payment;
      const change = RULES.decide(reopened, operations, operation, said, now, options);
      const none = { authorizedAmount: 0n, capturedAmount: 0n };
      return isWrong ? { ...change, transaction: { ...change.transaction, ...none } } : change;
    },
  },
  'R21 a capture beside another': receive((reception) => (reception === 'wait' ? 'run' : reception)),
  'R21 a capture of what was captured': receive((reception) => (reception === 'already_captured' ? 'run' : reception)),
  'R22 refunds that run not reserved': { reserved: () => 0n },
  'R22 refunds that were made forgotten': { remaining: ({ capturedAmount }, reserved) => capturedAmount - reserved },
};

function receive(instead: (reception: Reception) => Reception): Partial<Rules> {
  return { reception: (call, state) => instead(RULES.reception(call, state)) };
}
