import assert from 'node:assert/strict';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Approved, Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { type Kit, type LearnedOutcome, textsOf } from './contract-kit.ts';
import type { Group } from './contract-suite.ts';

// What an outcome says besides the money: fields that the ledger, the events and Wix can hold as they are.

/** An outcome of each kind that the cards of this engine can bring about. */
async function answers(kit: Kit): Promise<Outcome[]> {
  const said: LearnedOutcome[] = [];
  for (const card of ['approved', 'declined', 'pendingThenApproved', 'buyerAction'] as const) {
    if (!kit.means.cards[card]) continue;
    const order = kit.order({ card });
    said.push(await kit.send(order), await kit.ask(order));
  }
  const [held, released] = [await kit.paid({ authorizeOnly: true }), await kit.paid({ authorizeOnly: true })];
  said.push(await kit.approve(kit.capture(held)), await kit.approve(kit.void(released)));
  said.push(await kit.approve(kit.refund(held)), await kit.refuse(kit.refund(held)));
  return said.filter((one) => typeof one !== 'string');
}

const LIMITS: Readonly<Record<string, number>> = {
  processorReference: 200,
  authorizationCode: 100,
  networkTransactionId: 100,
  acquirerReference: 200,
  scheme: 50,
};

const DAY_MS = 24 * 3_600_000;

function ensureTime(time: Timestamp | undefined, field: string, from: number, to: number): void {
  if (!time) return;
  const ms = timestampMs(time) - Date.now();
  assert.ok(
    ms >= from && ms <= to,
    `${field} is ${time.seconds} seconds after 1970: is it in seconds, and absent if unknown?`,
  );
}

export const FIELDS: Group = {
  title: 'the fields of an answer',
  promises: [
    {
      title: 'R47 hold no control character: the padding of a fixed width is taken off',
      hold: async (kit) => {
        for (const said of await answers(kit))
          for (const [path, text] of textsOf(said)) assert.doesNotMatch(text, /[^\P{Cc}\t\r\n]/u, `${path} holds one`);
      },
    },
    {
      title: 'R47 are no longer than the ledger keeps them',
      hold: async (kit) => {
        for (const said of await answers(kit))
          for (const [path, text] of textsOf(said)) {
            const max = LIMITS[path.split('.').at(-1) ?? ''] ?? Number.POSITIVE_INFINITY;
            assert.ok(text.length <= max, `${path} has ${text.length} characters where ${max} are kept`);
          }
      },
    },
    {
      title: 'R47 tell times in seconds: it was processed now, and what expires does so later',
      hold: async (kit) => {
        for (const { kind } of await answers(kit)) {
          if (kind.case === 'approved' || kind.case === 'declined')
            ensureTime(kind.value.processedAt, 'processed_at', -DAY_MS, DAY_MS);
          if (kind.case === 'pending' || kind.case === 'buyerAction')
            ensureTime(kind.value.expiresAt, 'expires_at', -60_000, 400 * DAY_MS);
        }
      },
    },
    {
      title:
        'R52 hold what Wix may charge again with only where it is asked for: one reference, whole, within its limits',
      hold: async (kit) => {
        for (const setUp of [true, false]) {
          const order = kit.order({ setUp });
          for (const said of [await kit.approve(order), await kit.ask(order)])
            if (typeof said !== 'string' && said.kind.case === 'approved') ensureOnFile(said.kind.value, setUp);
        }
      },
    },
  ],
};

function ensureOnFile({ credentialsOnFile: onFile, threeDSecureResult }: Approved, setUp: boolean): void {
  if (!onFile) return;
  assert.ok(setUp, 'credentials_on_file were not asked for');
  const ensureLength = (text: string, field: string, min: number, max: number) =>
    assert.ok(text.length >= min && text.length <= max, `${field} has ${text.length} characters, not ${min}..${max}`);
  ensureLength(onFile.paymentMethod, 'payment_method', 0, 100);
  assert.ok(onFile.info.case, 'credentials_on_file have neither a card_reference nor a payment_method_reference');
  if (onFile.info.case === 'paymentMethodReference') {
    ensureLength(onFile.info.value.token, 'token', 1, 1000);
    return;
  }
  const { networkTransactionId, dsTransactionId, transactionLinkId } = onFile.info.value;
  ensureLength(networkTransactionId, 'network_transaction_id', 1, 1000);
  ensureLength(dsTransactionId, 'ds_transaction_id', threeDSecureResult === '' ? 0 : 1, 1000);
  ensureLength(transactionLinkId, 'transaction_link_id', 0, 22);
}
