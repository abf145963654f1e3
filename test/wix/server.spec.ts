import assert from 'node:assert/strict';
import { quietLog } from '../support/log.ts';
import { approvalOf, freshToken, requestToken, submitEvent } from './submit.ts';
import { createWix, type Wix } from './wix.ts';

describe('the endpoints of the simulated Wix', () => {
  let wix: Wix;
  let url: string;

  beforeEach(async () => {
    wix = createWix({ log: quietLog() });
    url = await wix.start();
  });
  afterEach(() => wix.stop());

  describe('taking events', () => {
    it('accepts an event with a token of its own, and hands it to who waits for it', async () => {
      const waiting = wix.eventFor('w-1', ({ body }) => body.pluginTransactionId === 'p-1');
      const response = await submitEvent(wix, url, approvalOf('w-1'));
      assert.equal(response.status, 200);
      assert.equal(await response.text(), '{}');
      assert.equal((await waiting).kind, 'transaction');
      assert.equal((await wix.eventFor('w-1')).accepted, true);
      assert.deepEqual(wix.violations, []);
    });

    it('says what there was when an event does not come', async () => {
      await submitEvent(wix, url, approvalOf('w-1'));
      await assert.rejects(
        wix.eventFor('w-1', ({ kind }) => kind === 'refund', 20),
        /no such event about w-1.*p-1/s,
      );
    });

    it('refuses an unknown token, and one that was used before', async () => {
      assert.equal((await submitEvent(wix, url, approvalOf('w-1'), 'OAUTH2.stolen')).status, 401);
      const token = await freshToken(wix, url);
      assert.equal((await submitEvent(wix, url, approvalOf('w-2'), token)).status, 200);
      assert.equal((await submitEvent(wix, url, approvalOf('w-2'), token)).status, 401);
      assert.deepEqual(
        wix.events('w-2').map(({ accepted }) => accepted),
        [true, false],
      );
      assert.match(wix.violations.join('\n'), /token was used before/);
    });

    it('gives no token to an app that it does not know', async () => {
      assert.equal((await requestToken(wix, url, 'wrong')).status, 401);
    });

    it('reports a call that it does not know', async () => {
      assert.equal((await fetch(`${url}/payments/v2`, { method: 'POST' })).status, 404);
      assert.match(wix.violations.join(), /POST \/payments\/v2 is not a call/);
    });
  });

  describe('failing', () => {
    const statuses = async (count: number, id = 'w-1') => {
      const seen: number[] = [];
      for (let i = 0; i < count; i++)
        seen.push(
          await submitEvent(wix, url, approvalOf(id)).then(
            ({ status }) => status,
            () => 0,
          ),
        );
      return seen;
    };

    it('a number of times, then it is well again', async () => {
      wix.fail({ times: 2, status: 503, headers: { 'retry-after': '7' } });
      assert.equal((await submitEvent(wix, url, approvalOf('w-1'))).headers.get('retry-after'), '7');
      assert.deepEqual(await statuses(2), [503, 200]);
      assert.deepEqual(
        wix.events('w-1').map(({ accepted }) => accepted),
        [false, false, true],
      );
    });

    it('for some payments only, until it is healed', async () => {
      const end = wix.fail({ status: 500, only: (id) => id === 'w-1' });
      assert.deepEqual([await statuses(2), await statuses(1, 'w-2')], [[500, 500], [200]]);
      end();
      wix.fail({ reset: true });
      assert.deepEqual(await statuses(1), [0]);
      wix.heal();
      assert.deepEqual(await statuses(1), [200]);
    });

    it('by HTML with 200, which is no success', async () => {
      wix.fail({ status: 200, body: '<html>', headers: { 'content-type': 'text/html' } });
      const response = await submitEvent(wix, url, approvalOf('w-1'));
      assert.equal(response.status, 200);
      assert.equal(await response.text(), '<html>');
      assert.equal(wix.events('w-1')[0]?.accepted, false);
    });

    it('by being late, which is no failure', async () => {
      wix.fail({ delayMs: 20 });
      assert.deepEqual(await statuses(1), [200]);
      assert.equal(wix.events('w-1')[0]?.accepted, true);
    });

    it('by giving no token', async () => {
      wix.fail({ at: 'token', status: 500, times: 1 });
      assert.equal((await requestToken(wix, url)).status, 500);
      assert.equal((await requestToken(wix, url)).status, 200);
    });

    it('by silence, until the caller gives up', async () => {
      wix.fail({ hang: true });
      const token = await freshToken(wix, url);
      const call = submitEvent(wix, url, approvalOf('w-1'), token, AbortSignal.timeout(50));
      await assert.rejects(call, { name: 'TimeoutError' });
      assert.equal(wix.events('w-1')[0]?.accepted, false);
    });
  });
});
