import assert from 'node:assert/strict';
import {
  APPROVED,
  answered,
  authorized,
  captured,
  created,
  DECLINED,
  PAGE,
  PENDING,
  paid,
  refunded,
  type Traffic,
  transaction,
} from './traffic.ts';
import { untoldOf } from './violations.ts';

describe('what Wix was answered but not told', () => {
  const cases: Record<string, [Traffic, RegExp | undefined]> = {
    'a final state': [() => [created(APPROVED)], /w-1: its final state/],
    'a final state that only its pending event was told of': [
      () => [created(PENDING), created(DECLINED), transaction(PENDING)],
      /final/,
    ],
    'an event that Wix did not accept': [() => [created(APPROVED), transaction(APPROVED, false)], /its final state/],
    'a pending state': [() => [created(PENDING)], /its pending state/],
    'a capture': [() => [authorized(), captured({})], /its capture/],
    'a refund': [() => [paid(), refunded({ pluginRefundId: 'pr-1' })], /its refund r-1/],
    'nothing while the buyer acts': [() => [created(PAGE)], undefined],
    'nothing of a pending payment whose end was told': [() => [created(PENDING), transaction(APPROVED)], undefined],
    'nothing of a refund refused on a declined payment (U17)': [
      () => [created(DECLINED), transaction(DECLINED), refunded({ pluginRefundId: 'pr-1', reasonCode: 3022 })],
      undefined,
    ],
    'nothing of a refused refund whose amount nobody can read': [
      () => [paid(), refunded({ pluginRefundId: 'pr-1', reasonCode: 1007 }, { refundAmount: 10.5 })],
      undefined,
    ],
    'nothing of a refund of nothing': [
      () => [paid(), refunded({ pluginRefundId: 'pr-1', reasonCode: 3022 }, { refundAmount: 0 })],
      undefined,
    ],
    'nothing where there was no answer': [() => [answered('create', {}, undefined, 503)], undefined],
  };
  for (const [title, [traffic, line]] of Object.entries(cases))
    it(title, () => {
      const untold = untoldOf(traffic().flat());
      if (line) assert.match(untold.join('\n'), line);
      else assert.deepEqual(untold, []);
    });
});
