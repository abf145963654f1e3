import type { Check } from './check.ts';
import { AUTHENTICATION_CHECKS } from './checks/authentication.ts';
import { BUYER_CHECKS } from './checks/buyers.ts';
import { CAPTURE_VOID_CHECKS } from './checks/capture-void.ts';
import { CONNECT_CHECKS } from './checks/connect.ts';
import { CREATE_CHECKS } from './checks/create.ts';
import { DELIVERY_CHECKS } from './checks/delivery.ts';
import { EVENT_CHECKS } from './checks/events.ts';
import { HISTORY_CHECKS } from './checks/history.ts';
import { IDEMPOTENCY_CHECKS } from './checks/idempotency.ts';
import { PAGE_CHECKS } from './checks/pages.ts';
import { PAYMENT_FIELD_CHECKS } from './checks/payment-fields.ts';
import { REFUND_CHECKS } from './checks/refund.ts';
import { TRANSPORT_CHECKS } from './checks/transport.ts';

/** Every rule that is tried, in the order of the report. */
export const CHECKS: readonly Check[] = [
  ...TRANSPORT_CHECKS,
  ...AUTHENTICATION_CHECKS,
  ...CONNECT_CHECKS,
  ...CREATE_CHECKS,
  ...PAYMENT_FIELD_CHECKS,
  ...REFUND_CHECKS,
  ...CAPTURE_VOID_CHECKS,
  ...EVENT_CHECKS,
  ...DELIVERY_CHECKS,
  ...IDEMPOTENCY_CHECKS,
  ...PAGE_CHECKS,
  ...BUYER_CHECKS,
  ...HISTORY_CHECKS,
];

/** Those that one of the patterns names: an id, or the beginning of one with a star (`retry.*`). */
export function choose(patterns: readonly string[]): readonly Check[] {
  if (patterns.length === 0) return CHECKS;
  return CHECKS.filter(({ id }) =>
    patterns.some((pattern) => (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern)),
  );
}
