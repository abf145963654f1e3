import { Buffer } from 'node:buffer';
import type { KeyRing } from './seal.ts';

// The road from the core's outbox to the relay: Kafka, or a function call within one process. A message of a payment's event has the
// transaction's id as its key, the Event in binary as its value, and the headers event-id, event-type, sequence, schema
// (payments.v1.Event), content-type (application/protobuf), occurred-at and signature.

export interface BusMessage {
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export interface EventPublisher {
  /** Resolves only when the whole batch is durably received. Messages of one key keep their order. */
  publish(batch: readonly BusMessage[]): Promise<void>;
}

/** Whatever it is given is durable once it resolves. The same message may come again. */
export type EventReceiver = (batch: readonly BusMessage[]) => Promise<void>;

const PURPOSE = 'event signature';

/** Adds the header `signature`: key id and HMAC over key, value and all other headers (R39). */
export function signMessage(
  keys: KeyRing,
  key: string,
  value: Uint8Array,
  headers: Readonly<Record<string, string>>,
): BusMessage {
  const mac = keys.mac(PURPOSE, signedBytes(key, value, headers));
  return { key, value, headers: { ...headers, signature: `${keys.ids[0]}:${mac.toString('base64')}` } };
}

/** Whether the message was signed with a key of the ring and is as it was then (R39). */
export function isSigned(keys: KeyRing, message: BusMessage): boolean {
  const { signature, ...headers } = message.headers;
  const mac = Buffer.from(signature?.split(':')[1] ?? '', 'base64');
  return keys.verify(PURPOSE, signedBytes(message.key, message.value, headers), mac);
}

/** One byte string for one message: every part follows its length, headers are sorted by name. */
function signedBytes(key: string, value: Uint8Array, headers: Readonly<Record<string, string>>): Uint8Array {
  const sorted = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [key, value, ...sorted.flat()].map((part) => Buffer.from(part as string));
  return Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(part.length);
      return [length, part];
    }),
  );
}
