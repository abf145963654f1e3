import { toBinary } from '@bufbuild/protobuf';
import { type Approved, type CredentialsOnFile, CredentialsOnFileSchema } from '../proto/gen/payments/v1/outcome_pb.js';
import { plain } from '../proto/runtime/redact.ts';
import type { Fields } from './fields.ts';
import type { Transaction } from './transaction.ts';

/** What the gateway takes back of Wix when it charges again. */
const REFERENCE_MAX = 1000;

/** Sealed, they have a row of 4 KiB. */
const BYTES_MAX = 4000;

/**
 * What Wix may charge again with: exactly one reference, whole and within Wix's limits, where it was asked for (Wix contract, 8.5; R52).
 * What does not fit is left out as a whole: half of it would charge the wrong way.
 */
export function readOnFile(
  payment: Pick<Transaction, 'setUpAsked' | 'awaitedBuyer' | 'requestedLastFour'>,
  approved: Approved,
  fields: Fields,
): CredentialsOnFile | undefined {
  const { credentialsOnFile: onFile } = approved;
  if (!onFile) return undefined;
  const fits = (text: string, min: number, max: number) =>
    text.length >= min && text.length <= max && plain(text) === text && !fields.quotesCard(text);
  const isReference = () => {
    if (onFile.info.case === 'paymentMethodReference') return fits(onFile.info.value.token, 1, REFERENCE_MAX);
    if (onFile.info.case !== 'cardReference') return false;
    const { networkTransactionId, dsTransactionId, transactionLinkId } = onFile.info.value;
    // A card or wallet whose buyer was sent to a page was authenticated there.
    const isAuthenticated =
      approved.threeDSecureResult !== '' || (payment.awaitedBuyer && payment.requestedLastFour !== null);
    return (
      fits(networkTransactionId, 1, REFERENCE_MAX) &&
      fits(dsTransactionId, isAuthenticated ? 1 : 0, REFERENCE_MAX) &&
      fits(transactionLinkId, 0, 22)
    );
  };
  const isKept =
    payment.setUpAsked !== false &&
    fits(onFile.paymentMethod, 0, 100) &&
    isReference() &&
    toBinary(CredentialsOnFileSchema, onFile).length <= BYTES_MAX;
  if (isKept) return onFile;
  fields.lose('credentials_on_file');
  return undefined;
}
