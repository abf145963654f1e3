import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { OPENAPI_FILE, openapi } from '../openapi.ts';

const EXAMPLES = path.join(import.meta.dirname, '../examples');
const text = readFileSync(OPENAPI_FILE, 'utf8');

interface Operation {
  requestBody: { content: { 'application/json': { schema: object } } };
  responses: Record<string, { content: { 'application/json': { schema: object } } }>;
}
const { paths } = parse(text) as { paths: Record<string, { post: Operation }> };
const ajv = new Ajv2020({ strict: false, formats: { uri: true } });

describe('docs/openapi.yaml', () => {
  it('is what the schemas of the gateway say: npm run openapi writes it anew', () => assert.equal(text, openapi()));

  it('is OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(text);
    assert.ok(valid, JSON.stringify(errors));
  });

  for (const call of [
    'connect-account',
    'create-transaction',
    'refund-transaction',
    'capture-transaction',
    'void-transaction',
  ])
    for (const side of ['request', 'response'] as const)
      it(`takes every example ${side} of ${call}`, () => {
        const operation = paths[`/wix/v1/${call}`]!.post;
        const { schema } = (side === 'request' ? operation.requestBody : operation.responses[200]!).content[
          'application/json'
        ];
        const check = ajv.compile(schema);
        const files = globSync(`${call}.*.${side}.json`, { cwd: EXAMPLES }).filter(
          (file) => !/malformed|invalid|missing|bad-/.test(file),
        );
        assert.ok(files.length > 0);
        for (const file of files)
          assert.ok(
            check(JSON.parse(readFileSync(path.join(EXAMPLES, file), 'utf8'))),
            `${file}: ${JSON.stringify(check.errors)}`,
          );
      });

  it('refuses what the gateway refuses', () => {
    const check = ajv.compile(paths['/wix/v1/create-transaction']!.post.requestBody.content['application/json'].schema);
    const good = () =>
      JSON.parse(readFileSync(path.join(EXAMPLES, 'create-transaction.card-approve.request.json'), 'utf8'));
    assert.ok(check(good()));
    for (const spoil of [
      (body: Record<string, never>) => delete body.wixTransactionId,
      (body: Record<string, never>) => Object.assign(body, { wixTransactionId: 'x'.repeat(201) }),
      (body: { order: { description: { totalAmount: unknown } } }) =>
        Object.assign(body.order.description, { totalAmount: '45.90' }),
      (body: { order: { description: { totalAmount: unknown } } }) =>
        Object.assign(body.order.description, { totalAmount: -1 }),
      (body: { paymentMethodData: { card: object } }) => Object.assign(body.paymentMethodData.card, { number: '4242' }),
      (body: { paymentMethodData: { card: object } }) => Object.assign(body.paymentMethodData.card, { month: 13 }),
    ]) {
      const body = good();
      spoil(body);
      assert.ok(!check(body), String(spoil));
    }
  });
});
