import { Code, ConnectError } from '@connectrpc/connect';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { Fault, OutcomeInit } from '../engine/fault.ts';
import type { Answer, Operation, SendOptions } from '../wix/client.ts';
import type { JsonObject } from '../wix/json.ts';
import {
  captureRequest,
  connectRequest,
  type Named,
  paymentRequest,
  refundRequest,
  voidRequest,
} from '../wix/requests.ts';
import type { Merchant } from '../wix/wix.ts';
import { CANARIES, SECURITY_CODE } from './canaries.ts';
import type { Surroundings } from './surroundings.ts';

// Everything that can happen to payments, with canaries in every place that takes a value.

const NUMBER = CANARIES['card number'];
const QUOTE = `card ${NUMBER}, or ${NUMBER.match(/\d{4}/g)?.join(' ')}`;

export interface CanaryLife {
  /** A create by the canary buyer; `fault` is what the engine makes of it. */
  pay(method: object, fault?: Fault): Promise<{ payment: Named; request: JsonObject; answer: Answer }>;
  call(operation: Operation, body: JsonObject | string, options?: SendOptions): Promise<Answer>;
  post(path: string, body: string): Promise<void>;
  /** What was answered where the answer was no success, with its headers. */
  readonly errors: string[];
}

export function createCanaryLife({ wix, engine }: Surroundings, url: string, merchant: Merchant): CanaryLife {
  const errors: string[] = [];

  async function call(operation: Operation, body: JsonObject | string, options?: SendOptions): Promise<Answer> {
    const answer = await wix.call(url, operation, body, options);
    if (answer.status !== 200 || answer.body?.reasonCode !== undefined)
      errors.push(answer.text, JSON.stringify([...answer.headers]));
    return answer;
  }

  async function pay(method: object, fault?: Fault) {
    const change = (body: JsonObject) => {
      const { description } = body.order as { description: { billingAddress: object } };
      Object.assign(description.billingAddress, {
        ...{ street: CANARIES.street, address: CANARIES.street, email: CANARIES.email },
      });
      Object.assign(body, { fraudInformation: { remoteIp: CANARIES['address of the buyer'] } }, method);
    };
    const request = paymentRequest(merchant, { change });
    spoil(engine, 'authorize', fault);
    const answer = await call('create', request);
    const payment = {
      wixTransactionId: String(request.wixTransactionId),
      pluginTransactionId: String(answer.body?.pluginTransactionId),
      credentials: merchant.credentials,
    };
    return { payment, request, answer };
  }

  async function post(path: string, body: string): Promise<void> {
    errors.push(await (await fetch(url + path, { method: 'POST', body })).text());
  }

  return { pay, call, post, errors };
}

/** Of the engine's next call of this method; undefined: it decides by itself. */
function spoil(engine: Surroundings['engine'], method: string, fault: Fault | undefined): void {
  engine.fault = (called) => {
    if (called !== method) return undefined;
    engine.fault = undefined;
    return fault;
  };
}

export const card = (more: object = {}) => ({
  paymentMethodData: {
    card: { number: NUMBER, year: 2031, month: 9, cvv: SECURITY_CODE, holderName: CANARIES['holder name'], ...more },
  },
});

export const wallet = (name: 'googlePay' | 'applePay') => ({
  paymentMethod: name,
  paymentMethodData: {
    [name]: {
      ...{ pan: CANARIES['card number of a wallet'], expirationYear: 2031, expirationMonth: 9, eci: '05' },
      ...{ cryptogram: CANARIES.cryptogram, cardholderName: CANARIES['holder name'] },
      ...(name === 'googlePay' && { authenticationMethod: 'CRYPTOGRAM_3DS' }),
    },
  },
});

const SETUP = { setupCredentialsOnFile: { offSession: true } };
const onFile = { paymentMethodData: { reference: { token: CANARIES['token on file'] } }, offSession: true };

const approvedWith = (value: object): OutcomeInit => ({ kind: { case: 'approved', value } });
const APPROVED_ON_FILE = approvedWith({
  credentialsOnFile: { info: { case: 'paymentMethodReference', value: { token: CANARIES['token on file'] } } },
});

/** What an engine must not say, said in every place where it may say anything. */
const INDISCRETIONS: readonly Fault[] = [
  approvedWith({
    ...{ processorReference: NUMBER, authorizationCode: NUMBER, networkTransactionId: NUMBER },
    ...{ acquirerReference: NUMBER, cardDetails: { scheme: NUMBER, bin: NUMBER, lastFour: NUMBER } },
  }),
  approvedWith({ amount: 1n, processorReference: NUMBER }),
  approvedWith({ amount: 99_999n, processorReference: NUMBER }),
  {
    kind: {
      case: 'declined',
      value: { reason: Reason.GENERAL_ERROR, errorCode: NUMBER, message: QUOTE, processorReference: NUMBER },
    },
  },
  { kind: { case: 'pending', value: { processorReference: NUMBER } } },
  { kind: { case: 'failed', value: { errorCode: NUMBER, message: QUOTE } } },
  { kind: { case: 'expired', value: { errorCode: NUMBER, message: QUOTE } } },
  { kind: { case: 'unknown', value: { message: QUOTE } } },
  new ConnectError(QUOTE, Code.InvalidArgument),
  new ConnectError(QUOTE, Code.Internal),
];

export async function connectInVain({ call }: CanaryLife): Promise<void> {
  await call('connect', connectRequest({ credentials: { apiKey: 'invalid', more: CANARIES['refused credential'] } }));
  await call('connect', { ...connectRequest(), credentials: { apiKey: [CANARIES['malformed credential']] } });
  await call('connect', { ...connectRequest(), wixMerchantId: '', credentials: { apiKey: CANARIES['api key'] } });
}

export async function payInEveryWay({ pay, call }: CanaryLife): Promise<void> {
  const { request } = await pay({ ...card(), ...SETUP }, APPROVED_ON_FILE);
  await call('create', request);
  await pay(onFile);
  for (const kind of ['googlePay', 'applePay'] as const) await pay({ ...wallet(kind), ...SETUP });
  for (const fault of ['unavailable', 'drop answer', 'ignore', ...INDISCRETIONS] as const) await pay(card(), fault);
}

export async function followInEveryWay({ engine }: Surroundings, { pay, call }: CanaryLife): Promise<void> {
  const requests = {
    capture: (payment: Named) => captureRequest(payment, 4590),
    void: (payment: Named) => voidRequest(payment, 4590),
    refund: (payment: Named) => refundRequest(payment),
  };
  for (const kind of ['capture', 'void', 'refund'] as const)
    for (const fault of [undefined, 'drop answer', ...INDISCRETIONS] as const) {
      const { payment } = await pay({ ...card(), authorizeOnly: kind !== 'refund' });
      const request = requests[kind](payment);
      await call(kind, { ...request, merchantCredentials: { apiKey: CANARIES['refused credential'] } });
      await call(kind, { ...request, merchantCredentials: [CANARIES['malformed credential']] });
      spoil(engine, kind, fault);
      await call(kind, request);
    }
}

/** Bodies that fit no schema, are no JSON, are not signed, or come to no endpoint. */
export async function callInVain({ pay, call, post }: CanaryLife): Promise<void> {
  const methods = [
    card({ number: CANARIES['card number that is no number'] }),
    card({ cvv: CANARIES['security code that is none'] }),
    card({ month: NUMBER }),
    { paymentMethodData: { card: NUMBER } },
    { paymentMethodData: { ...card().paymentMethodData, ...onFile.paymentMethodData } },
    { ...card(), merchantCredentials: { apiKey: CANARIES['refused credential'] } },
    { ...card(), merchantCredentials: { apiKey: [CANARIES['malformed credential']] } },
    { ...card(), paymentMethod: NUMBER, wixMerchantId: { NUMBER } },
    { ...card(), order: { description: { totalAmount: QUOTE, currency: QUOTE } } },
    { ...wallet('googlePay'), mode: 'live' },
  ];
  for (const method of methods) await pay(method);
  const { request } = await pay(card());
  await call('create', { ...request, ...card({ number: CANARIES['card number that is no number'] }) });
  const text = JSON.stringify(request);
  for (const broken of [text.slice(0, -1), `${text}${NUMBER}`, `[${text}]`, text.replace('"cvv":"', '"cvv":')])
    await call('create', broken);
  for (const forgery of ['no header', 'wrong key', 'tampered body', 'alg none'] as const)
    await call('create', text, { forgery });
  await call('create', text, { headers: { 'content-type': `text/plain; card=${NUMBER}` } });
  await call('create', text, { headers: { 'content-encoding': CANARIES['api key'] } });
  await call('create', text, { headers: { digest: `JWT=${CANARIES['api key']}.${NUMBER}.` } });
  await post(`/wix/v1/${NUMBER}`, text);
  await post(`/${CANARIES['api key']}?card=${NUMBER}`, text);
}
