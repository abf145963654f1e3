import assert from 'node:assert/strict';
import { type BusMessage, isSigned, signMessage } from '../../proto/runtime/event-bus.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';

const keyText = (id: string, byte: number) => `${id}:${Buffer.alloc(32, `key ${byte}`).toString('base64')}`;
const keys = createKeyRing(keyText('1', 1));
const headers = { 'event-id': 'e1', sequence: '1', 'occurred-at': '2026-11-24T10:00:00Z' };
const message = signMessage(keys, 't1', Buffer.from('value'), headers);

describe('R39 a message on the bus', () => {
  it('is known as signed, in whatever order its headers come', () => {
    assert(isSigned(keys, message));
    const reversed = Object.fromEntries(Object.entries(message.headers).reverse());
    assert(isSigned(keys, { ...message, headers: reversed }));
  });

  it('is not, once anything in it was changed, added, moved or left out', () => {
    const { sequence: _, ...without } = message.headers;
    const forged: BusMessage[] = [
      { ...message, key: 't2' },
      { ...message, value: Buffer.from('Value') },
      { ...message, key: 't1v', value: Buffer.from('alue') },
      { ...message, headers: { ...message.headers, sequence: '2' } },
      { ...message, headers: { ...message.headers, more: '' } },
      { ...message, headers: without },
      { ...message, headers: { ...without, sequence1: '' } },
      { ...message, headers },
      { ...message, headers: { ...headers, signature: '' } },
      { ...message, headers: { ...headers, signature: '1:AAAA' } },
    ];
    for (const one of forged) assert(!isSigned(keys, one), JSON.stringify(one));
  });

  it('is known under every key of the ring, and under no other', () => {
    assert(isSigned(createKeyRing(`${keyText('2', 2)},${keyText('1', 1)}`), message));
    assert(!isSigned(createKeyRing(keyText('1', 2)), message));
  });
});
