import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import type { OperationKind } from './operation.ts';

// Which of Wix's reasons may be told for which operation (Wix contract, section 11).

type Group = 'connect' | OperationKind;

const isGeneral = (code: number) => code >= 1002 && code <= 1013;

/** Codes of the decline table that belong to refunds alone. */
const REFUND: readonly number[] = [3022, 3023, 3024, 3025, 3032, 3033];

/** The group "Auth and capture" of Wix's page is not known (U1); these are the natural ones of the others. */
const CAPTURE: readonly number[] = [3001, 3031, 3035];

const LEGAL: Readonly<Record<Group, (code: number) => boolean>> = {
  connect: (code) => code >= 2000 && code < 3000,
  authorize: (code) => code >= 3000 && !REFUND.includes(code) && !isPending(code),
  capture: (code) => CAPTURE.includes(code),
  void: (code) => CAPTURE.includes(code),
  refund: (code) => REFUND.includes(code),
  cancel: () => false,
  reversal: () => false,
};

const KNOWN = new Set<number>(Object.values(Reason).filter((value) => typeof value === 'number'));

export function isPending(code: number): boolean {
  return code === Reason.PENDING_FRAUDULENT_TRANSACTION || code === Reason.PENDING_GENERAL;
}

/**
 * The reason as Wix may hear it for this operation, with an error code that is never lost: an illegal one becomes GENERAL_ERROR
 * (REFUND_TECHNICAL_ERROR for refunds) and its number takes the place of the error code (R18).
 */
export function legalReason(group: Group, code: number, errorCode: string): { reason: Reason; errorCode: string } {
  const legal = KNOWN.has(code) && (isGeneral(code) || code === Reason.GENERAL_ERROR || LEGAL[group](code));
  if (!legal) {
    return {
      reason: group === 'refund' ? Reason.REFUND_TECHNICAL_ERROR : Reason.GENERAL_ERROR,
      errorCode: code === 0 ? errorCode || 'UNSPECIFIED' : String(code),
    };
  }
  return { reason: code, errorCode: errorCode || (code === Reason.GENERAL_ERROR ? 'GENERAL_ERROR' : '') };
}
