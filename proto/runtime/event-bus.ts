import { Buffer } from 'node:buffer';
import type { KeyRing } from './seal.ts';

// The road from the core's outbox to the relay: Kafka, or a function call within one process. A message of a payment's event has the
// transaction's id as its key, the Event in binary as its value, and the headers event-id, event-type, sequence, schema
// (payments.v1.Event), content-type (application/protobuf), occurred-at and signature.

type Headers = Readonly<Record<string, string>>;

export interface BusMessage {
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Headers;
}

export interface EventPublisher {
  /** Resolves only when the whole batch is durably received. Messages of one key keep their order. */
  publish(batch: readonly BusMessage[]): Promise<void>;
}

/** Whatever it is given is durable once it resolves. The same message may come again. */
export type EventReceiver = (batch: readonly BusMessage[]) => Promise<void>;

const PURPOSE = 'event signature';

/** Adds the header `signature`: key id and HMAC over key, value and all other headers (R39). */
export function signMessage(keys: KeyRing, key: string, value: Uint8Array, headers: Headers): BusMessage {
  const mac = keys.mac(PURPOSE, signedText(key, value, headers));
  return { key, value, headers: { ...headers, signature: `${keys.ids[0]}:${mac.toString('base64')}` } };
}

/** Whether the message was signed with a key of the ring and is as it was then (R39). */
export function isSigned(keys: KeyRing, message: BusMessage): boolean {
  const { signature, ...headers } = message.headers;
  const mac = Buffer.from(signature?.split(':')[1] ?? '', 'base64');
  return keys.verify(PURPOSE, signedText(message.key, message.value, headers), mac);
}

/** One text for one message, in whatever order its headers come. */
function signedText(key: string, value: Uint8Array, headers: Headers): string {
  return JSON.stringify([key, Buffer.from(value).toString('base64'), Object.entries(headers).sort()]);
}
