import { z } from 'zod';
import { flag, integer, wholeNumber } from '../proto/runtime/config.ts';

// What Wix's contract leaves open, one setting each; docs/CONTRACT-SWITCHES.md says what is unclear and what changes.

/** One of Wix's codes; as ALREADY_COMMITTED_REASON where it is not set. */
const committedReason = () => wholeNumber({ min: 1002, max: 9999 }).optional();

/** The core's switches. Every default is the working rule of the contract. */
export const coreSwitches = {
  /** U1: what a capture or void of a payment that was captured or voided before is told. */
  ALREADY_COMMITTED_REASON: integer(3031, { min: 1002, max: 9999 }),
  CAPTURE_OF_CAPTURED_REASON: committedReason(),
  CAPTURE_OF_VOIDED_REASON: committedReason(),
  VOID_OF_CAPTURED_REASON: committedReason(),
  VOID_OF_VOIDED_REASON: committedReason(),
  /** U2: whether less than was authorised may be captured. */
  PARTIAL_CAPTURE: flag(true),
  /** U4: whether Wix is told of a refund that failed after it had succeeded. */
  LATE_REFUND_FAILURE_EVENT: flag(false),
  /** U5: whether Wix is told pending 5009 while a buyer acts on the engine's page. */
  BUYER_WAIT_EVENT: flag(false),
  /** U8: whether payments by Apple Pay are taken; else they are declined 1012. */
  APPLE_PAY: flag(true),
  /** U8: whether a wallet may set up later charges; else such a payment is declined 3002. */
  WALLETS_ON_FILE: flag(true),
  /** U10: what a refund of Wix's without an amount is: of what remains, or refused 1004. */
  REFUND_AMOUNT_WHEN_ABSENT: z.enum(['remaining', 'refuse'], 'must be remaining or refuse').default('remaining'),
  /** U13: whether a payment of 0 that sets up later charges goes to the engine, which verifies the card; else 3001 (R25). */
  ZERO_AMOUNT_SET_UP: flag(false),
  /** U17: whether a refund that was refused before its payment was approved is told after the approval. */
  EARLY_REFUND_REFUSAL_EVENT: flag(true),
};
export type CoreSwitches = z.infer<z.ZodObject<typeof coreSwitches>>;
