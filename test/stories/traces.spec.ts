import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { context, propagation, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { after, afterEach, before, describe, it } from 'mocha';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';
import { switchTracingOn } from '../../proto/runtime/tracing.ts';
import { endPrograms, numberIn, startProgram } from '../faults/program.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { LOSSY, useStage } from '../support/stage.ts';
import { createWix } from '../wix/wix.ts';

describe('traces', () => {
  const exporter = new InMemorySpanExporter();
  const stage = useStage({ env: LOSSY });
  before(() => {
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
    switchTracingOn();
  });
  afterEach(() => exporter.reset());
  after(() => {
    trace.disable();
    context.disable();
    propagation.disable();
  });

  /** The spans of the trace that a span of this name began, by name. */
  async function traceOf(name: string, last: string): Promise<ReadableSpan[]> {
    return eventually(async () => {
      const spans = exporter.getFinishedSpans();
      const first = spans.find((span) => span.name === name);
      const found = spans.filter((span) => span.spanContext().traceId === first?.spanContext().traceId);
      assert.ok(
        found.some((span) => span.name === last),
        `${spans.map((span) => span.name)}`,
      );
      return found;
    });
  }
  const namesOf = (spans: readonly ReadableSpan[]) => spans.map(({ name }) => name).sort();

  it('are one from Wix’s call over core and engine to the event that tells Wix', async () => {
    const payment = await stage.pay();
    await stage.settled(payment);
    const spans = await traceOf('wix create-transaction', 'tell Wix');
    assert.deepEqual(namesOf(spans), [
      'engine authorize',
      'payments.v1.PaymentsService/CreateTransaction',
      'tell Wix',
      'wix create-transaction',
    ]);
    const told = spans.find(({ name }) => name === 'tell Wix');
    assert.equal(told?.attributes['transaction.id'], payment.pluginTransactionId);
  });

  it('are one for a capture and for a refund', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    await stage.settled(payment);
    exporter.reset();
    await stage.wix.capture(payment);
    await stage.settled(payment);
    assert.ok(namesOf(await traceOf('wix capture-transaction', 'tell Wix')).includes('engine capture'));
    exporter.reset();
    await stage.wix.refund(payment, { amount: 100 });
    await stage.settled(payment);
    assert.ok(namesOf(await traceOf('wix refund-transaction', 'tell Wix')).includes('engine refund'));
  });

  it('belong to the payment that they are about, of many that are written together', async () => {
    const payments = await Promise.all(Array.from({ length: 20 }, () => stage.pay()));
    for (const payment of payments) await stage.settled(payment);
    await eventually(async () =>
      assert.equal(exporter.getFinishedSpans().filter(({ name }) => name === 'tell Wix').length, 20),
    );
    const spans = exporter.getFinishedSpans();
    const told = spans.filter(({ name }) => name === 'tell Wix');
    assert.equal(new Set(told.map((span) => span.spanContext().traceId)).size, 20);
    for (const span of told) {
      const whole = spans.filter((other) => other.spanContext().traceId === span.spanContext().traceId);
      assert.equal(whole.filter(({ name }) => name === 'wix create-transaction').length, 1);
    }
  });

  it('R32 hold nothing that was sent: no card, no buyer, no credential, no amount; of an error its kind alone', async () => {
    const payment = await stage.pay({ number: '4000000000009995' });
    stage.once('authorize', 'drop answer');
    const lost = await stage.pay();
    for (const one of [payment, lost]) await stage.settled(one);
    const text = JSON.stringify(
      exporter
        .getFinishedSpans()
        .map(({ name, attributes, events, status, links }) => ({ name, attributes, events, status, links })),
    );
    const values: string[] = [];
    const collect = (value: unknown): void => {
      if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) collect(part);
      else if (value !== undefined && value !== null && String(value).length > 3) values.push(String(value));
    };
    const { wixTransactionId: _, ...sent } = payment.request;
    collect(sent);
    assert.ok(values.length > 20);
    for (const value of [...values, '4000000000009995', '737']) assert.ok(!text.includes(`"${value}"`), value);
  });
});

describe('traces of a program', () => {
  const spans: { name: string }[] = [];
  let collector: Server;
  before(async () => {
    collector = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request.setEncoding('utf8')) text += chunk;
      for (const { scopeSpans } of JSON.parse(text).resourceSpans)
        for (const scope of scopeSpans) spans.push(...scope.spans);
      response.end('{}');
    });
  });
  after(async () => {
    await endPrograms();
    await closeHttp(collector, 0);
  });

  it('go to OTEL_EXPORTER_OTLP_ENDPOINT, and nowhere without it', async () => {
    const port = await listen(collector, 0, '127.0.0.1');
    const wix = createWix({ log: quietLog() });
    const env = {
      ...{
        ...KEYS,
        ...QUICK,
        DATABASE_URL: await freshDatabase(),
        WIX_API_URL: await wix.start(),
        WIX_USER_AGENT: 'traces/1.0',
      },
      ...{ WIX_PUBLIC_KEY: wix.publicKeyPem, WIX_APP_ID: wix.appId, WIX_APP_SECRET: wix.appSecret },
      ...{
        GATEWAY_PORT: '0',
        GATEWAY_ADMIN_PORT: '0',
        RELAY_PORT: '0',
        PROCESSOR_URL: 'http://127.0.0.1:9',
        PROCESSOR_TOKEN: 'x'.repeat(40),
      },
    };
    const connector = startProgram('connector.ts', {
      ...env,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
    const url = `http://127.0.0.1:${await connector.until((it) => numberIn(it, 'gateway.listening', 'port'))}`;
    assert.ok(connector.lines.some(({ event }) => event === 'tracing.started'));
    await wix.connect(url);
    await eventually(async () => assert.ok(spans.some(({ name }) => name === 'wix connect-account')));
    await wix.stop();
  });
});
