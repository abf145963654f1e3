import type { PaymentDetails } from '../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { parsedBy } from '../proto/runtime/config.ts';
import type { Refusal } from './transaction.ts';

// What the PSP has made obligatory for buyers in Wix's dashboard, so that every payment carries it (Wix contract, 16 and 5.7).

type Address = NonNullable<PaymentDetails['billingAddress']>;

/** Each field by its name in Wix's order, where it is read, and the reason of a decline without it. */
const FIELDS: Readonly<Record<string, readonly [read: (details: PaymentDetails) => string | undefined, Reason]>> = {
  billingAddress: [({ billingAddress }) => anyOf(billingAddress), Reason.BILLING_ADDRESS_MISSING],
  shippingAddress: [({ shippingAddress }) => anyOf(shippingAddress), Reason.SHIPPING_ADDRESS_MISSING],
  'billingAddress.zipCode': [({ billingAddress }) => billingAddress?.zipCode, Reason.ZIP_CODE_MISSING],
  'billingAddress.phone': [({ billingAddress }) => billingAddress?.phone, Reason.PHONE_NUMBER_MISSING_OR_INVALID],
  ...ofAddress('address', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('street', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('houseNumber', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('city', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('state', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('countryCode', Reason.BILLING_ADDRESS_MISSING),
  ...ofAddress('email', Reason.REQUIRED_FIELDS_ARE_MISSING),
  ...ofAddress('firstName', Reason.REQUIRED_FIELDS_ARE_MISSING),
  ...ofAddress('lastName', Reason.REQUIRED_FIELDS_ARE_MISSING),
  'billingAddress.taxIdentifier.id': [
    ({ billingAddress }) => billingAddress?.taxId,
    Reason.REQUIRED_FIELDS_ARE_MISSING,
  ],
  'card.cvv': [securityCode, Reason.REQUIRED_FIELDS_ARE_MISSING],
};

function ofAddress(name: Exclude<keyof Address, '$typeName' | '$unknown'>, reason: Reason): typeof FIELDS {
  return { [`billingAddress.${name}`]: [({ billingAddress }) => billingAddress?.[name], reason] };
}

function anyOf(address: Address | undefined): string {
  if (!address) return '';
  const { $typeName: _type, $unknown: _unknown, ...texts } = address;
  return Object.values(texts).join('');
}

/** Only a card whose buyer is there has one: not a charge by an earlier payment's reference, nor by mail or telephone. */
function securityCode({ method, moto, offSession }: PaymentDetails): string | undefined {
  if (method.case !== 'card' || moto || offSession || method.value.networkTransactionId !== '') return 'none';
  return method.value.cvv;
}

/** `name,...` of FIELDS. */
export const requiredFields = () =>
  parsedBy((value): readonly string[] => {
    const names = value.split(',').flatMap((name) => name.trim() || []);
    if (names.every((name) => Object.hasOwn(FIELDS, name))) return names;
    throw new Error(`must be a list of ${Object.keys(FIELDS).join(', ')}`);
  }).prefault('');

/** Why a payment without one of these fields is declined; undefined if it has all, or if no buyer was asked for them. */
export function missingField(names: readonly string[], details: PaymentDetails | undefined): Refusal | undefined {
  const isLaterCharge = details?.offSession && details.method.case !== 'wallet';
  if (!details || isLaterCharge) return undefined;
  const name = names.find((required) => !FIELDS[required]?.[0](details)?.trim());
  const reason = name && FIELDS[name]?.[1];
  return reason ? { reason, errorCode: 'MISSING_FIELD', message: `${name} is missing` } : undefined;
}
