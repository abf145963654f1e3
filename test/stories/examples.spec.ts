import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { useStage } from '../support/stage.ts';
import type { JsonObject } from '../wix/json.ts';
import { sample } from '../wix/requests.ts';
import type { Merchant, Payment } from '../wix/wix.ts';
import {
  answerTo,
  CALLS,
  CONNECTS,
  CREATES,
  type Create,
  ELSEWHERE,
  filesTold,
  outcomeOf,
  type Step,
} from './examples.ts';

// The example messages of the contract, told as they are: the requests as Wix sends them, every answer and every event property by
// property. The engine says what the example needs; only ids are ours.

describe('the examples of the contract', () => {
  const stage = useStage({ env: { BUYER_TIMEOUT_MS: '60000' } });
  /** The one of the examples. */
  let merchant: Merchant;
  const connect = (change: Record<string, string> = {}) => {
    const { wixMerchantId } = sample('connect-account.enriched.request.json');
    const { credentials } = sample('connect-account.enriched.response.json') as { credentials: Record<string, string> };
    return stage.connect({ merchantId: String(wixMerchantId), credentials: { ...credentials, ...change } });
  };
  before(async () => {
    merchant = await connect();
  });

  describe('connecting', () => {
    for (const { request, response, currencies } of CONNECTS)
      it(response, async () => {
        const sent = sample(`connect-account.${request}.request.json`);
        const expected = sample(`connect-account.${response}.response.json`);
        stage.verdict = () => ({ result: currencies ? account(sent, expected, currencies) : verdict(sent, expected) });
        const { body } = await stage.wix.call(stage.gatewayUrl, 'connect', sent);
        assert.deepEqual(body, expected.accountId ? { ...expected, accountId: merchant.accountId } : expected);
      });
  });

  describe('paying', () => {
    for (const create of CREATES)
      it([create.create, ...(create.later ?? [])].join(', then '), async () => {
        const tale = createTale();
        const payment = await tale.pay(create);
        if (create.waiting) await tale.hearAgain(payment, create.waiting);
        for (const event of create.later ?? []) await tale.decide(payment, event);
        if (create.after) await tale.hearAgain(payment, create.after);
      });
  });

  describe('what follows a payment', () => {
    for (const { title, create, pay, steps } of CALLS)
      it(title, async () => {
        const tale = createTale();
        const payment = create ? await tale.pay(create) : await stage.wix.pay(merchant, pay);
        for (const event of create?.later ?? []) await tale.decide(payment, event);
        for (const step of steps) await tale.follow(payment, step);
      });
  });

  it('are all told here, or read by the spec that is named', () => {
    const tests = join(import.meta.dirname, '..');
    assert.deepEqual(
      [...new Set([...filesTold(), ...Object.keys(ELSEWHERE)])].sort(),
      readdirSync(join(tests, 'examples')).sort(),
    );
    for (const [file, [spec, words]] of Object.entries(ELSEWHERE))
      assert.ok(readFileSync(join(tests, spec), 'utf8').includes(words), `${spec} does not read ${file}`);
  });

  /** One story, in which every id of the examples stands for one of ours. */
  function createTale() {
    // R35: of a BIN of eight digits six are kept, and told.
    const ours = new Map([['41111111', '411111']]);
    const name = (theirs: unknown, our: unknown) => void ours.set(String(theirs), String(our));
    const retell = (file: string): JsonObject =>
      JSON.parse(
        [...ours].reduce(
          (text, [theirs, our]) => text.replaceAll(`"${theirs}"`, `"${our}"`),
          JSON.stringify(sample(file)),
        ),
      );
    const assertTold = (wixTransactionId: string, event: JsonObject) =>
      stage.wix.eventFor(wixTransactionId, ({ text }) => isDeepStrictEqual(JSON.parse(text), { event }));
    const eventOf = (file: string) => retell(`submit-event.${file}.json`).event as Record<string, JsonObject>;

    return {
      async pay({ create, withheld, eurosOnly }: Create): Promise<Payment> {
        const { credentials } = eurosOnly ? await connect({ account_ref: 'HP-EUR', currencies: 'EUR' }) : merchant;
        const wixTransactionId = randomUUID();
        const file = `create-transaction.${create}.request.json`;
        name(sample(file).wixTransactionId, wixTransactionId);
        stage.once('authorize', outcomeOf(answerTo(create)));
        const payment = await stage.wix.create(merchant, {
          ...retell(file),
          ...(eurosOnly && { merchantCredentials: credentials }),
        });
        name(answerTo(create).pluginTransactionId, payment.pluginTransactionId);
        const answer = retell(`create-transaction.${create}.response.json`);
        if (withheld) delete answer.pluginTransactionId;
        assert.deepEqual(payment.answer.body, answer);
        if (!answer.redirectUrl) {
          const { transaction } = eventOf(create);
          if (withheld) delete transaction?.pluginTransactionId;
          await assertTold(wixTransactionId, { transaction });
        }
        return payment;
      },

      async hearAgain(payment: Payment, response: string): Promise<void> {
        const { answer } = await stage.wix.again(payment);
        assert.deepEqual(answer.body, retell(`create-transaction.${response}.response.json`));
      },

      /** The engine comes to the outcome that the event tells of. */
      async decide(payment: Payment, event: string): Promise<void> {
        stage.engine.settle(stage.requestId(payment), outcomeOf(eventOf(event).transaction!));
        await assertTold(payment.wixTransactionId, eventOf(event));
      },

      async follow(payment: Payment, { call, request, response, ...step }: Step): Promise<void> {
        const file = `${call}-transaction.${request}.request.json`;
        const theirs = sample(file);
        name(theirs.wixTransactionId, step.unknownPayment ? randomUUID() : payment.wixTransactionId);
        name(theirs.pluginTransactionId, payment.pluginTransactionId);
        if (call === 'refund' && !step.again) name(theirs.wixRefundId, randomUUID());
        const answer = sample(`${call}-transaction.${response}.response.json`);
        if (!step.ours) stage.once(call, outcomeOf(answer));
        const { body = {} } = await stage.wix.call(stage.gatewayUrl, call, retell(file));
        name(answer.pluginRefundId, body.pluginRefundId);
        // A refusal may name its record where the example has none.
        const { pluginRefundId: _, ...refusal } = body;
        const said = answer.pluginRefundId ? body : refusal;
        assert.deepEqual(said, retell(`${call}-transaction.${response}.response.json`));
        if (!step.event) return;
        name(eventOf(step.event)[call]?.wixTransactionId, payment.wixTransactionId);
        await assertTold(payment.wixTransactionId, eventOf(step.event));
      },
    };
  }
});

/** What the engine must say of an account for Wix to hear this. */
function verdict(sent: JsonObject, { reasonCode, errorCode, errorMessage, ...rest }: JsonObject) {
  if (!reasonCode) return account(sent, rest);
  const value = { reason: Number(reasonCode), errorCode: String(errorCode), message: String(errorMessage) };
  return { case: 'refusal', value } as const;
}

function account(sent: JsonObject, { accountName, credentials }: JsonObject, currencies: string[] = []) {
  const { account_ref: accountReference = '' } = sent.credentials as Record<string, string>;
  const values = (credentials ?? {}) as Record<string, string>;
  return {
    case: 'account',
    value: { accountReference, name: String(accountName), currencies, extraCredentials: { values } },
  } as const;
}
