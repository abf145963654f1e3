import type { PaymentDetails } from '../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import type { Refusal } from './refusal.ts';

// What a PSP has made obligatory in the dashboard of its Wix app (contract 16): buyers fill it in, so that it comes with every payment of
// a buyer who is there.

/** Of the billing address, each with what its absence means; `cvv` is the security code, of a saved card too. */
const FIELDS = {
  ...{ firstName: Reason.REQUIRED_FIELDS_ARE_MISSING, lastName: Reason.REQUIRED_FIELDS_ARE_MISSING },
  ...{ email: Reason.REQUIRED_FIELDS_ARE_MISSING, phone: Reason.PHONE_NUMBER_MISSING_OR_INVALID },
  ...{ address: Reason.REQUIRED_FIELDS_ARE_MISSING, street: Reason.REQUIRED_FIELDS_ARE_MISSING },
  ...{ houseNumber: Reason.REQUIRED_FIELDS_ARE_MISSING, zipCode: Reason.ZIP_CODE_MISSING },
  ...{ city: Reason.REQUIRED_FIELDS_ARE_MISSING, state: Reason.REQUIRED_FIELDS_ARE_MISSING },
  ...{ countryCode: Reason.REQUIRED_FIELDS_ARE_MISSING, taxId: Reason.REQUIRED_FIELDS_ARE_MISSING },
  cvv: Reason.REQUIRED_FIELDS_ARE_MISSING,
};

export type RequiredField = keyof typeof FIELDS;

/** Reads `zipCode,phone`. Throws an Error that names what may stand there. */
export function readRequiredFields(text: string): readonly RequiredField[] {
  const names = text.split(',').map((name) => name.trim());
  if (!names.every((name): name is RequiredField => Object.hasOwn(FIELDS, name)))
    throw new Error(`must be some of ${Object.keys(FIELDS).join(', ')}, with commas between them`);
  return names;
}

interface Payment {
  readonly billingAddress?: Readonly<Partial<Record<RequiredField, string | undefined>>> | undefined;
  readonly method: { readonly case: PaymentDetails['method']['case']; readonly value?: unknown };
  /** There is no buyer who could fill anything in. */
  readonly isBuyerAbsent: boolean;
}

/** Why a payment is refused that lacks a required field; undefined if it lacks none. */
export function refusalOfMissing(
  required: readonly RequiredField[],
  { billingAddress, method, isBuyerAbsent }: Payment,
): Refusal | undefined {
  if (isBuyerAbsent) return undefined;
  const lacks = (name: RequiredField) => {
    if (name === 'cvv') return method.case === 'card' && (method.value as { cvv: string }).cvv === '';
    return !billingAddress?.[name];
  };
  const missing = required.find(lacks);
  if (missing === undefined) return undefined;
  if (missing === 'cvv') return refusal(FIELDS.cvv, 'paymentMethodData.card.cvv');
  if (!billingAddress) return refusal(Reason.BILLING_ADDRESS_MISSING, 'billingAddress');
  return refusal(FIELDS[missing], `billingAddress.${missing === 'taxId' ? 'taxIdentifier.id' : missing}`);
}

const refusal = (reason: Reason, name: string): Refusal => ({
  reason,
  errorCode: 'MISSING_FIELD',
  message: `${name} is missing`,
});
