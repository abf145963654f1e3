import assert from 'node:assert/strict';
import { createClient, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { quietLog } from '../support/log.ts';
import { FAULTS, type Fault, type Sound } from './broken-engines.ts';
import { FAULTS_OF_FIELDS } from './broken-fields.ts';
import { type Means, SIMULATED_MEANS } from './contract-means.ts';
import { type EngineUnderTest, GROUPS, hold } from './contract-suite.ts';
import { createEngine, type Engine } from './engine.ts';

// The suite is worth what it finds.

describe('the contract suite', () => {
  const means: Means = { ...SIMULATED_MEANS, lateMs: 500, silenceMs: 150 };
  let simulated: Engine;
  let sound: Sound;

  beforeEach(() => {
    simulated = createEngine({ data: ':memory:', log: quietLog(), pendingMs: 100 });
    sound = createClient(ProcessorService, createRouterTransport(simulated.routes));
    simulated.pagesUrl = 'https://pay.example';
    simulated.start();
  });
  afterEach(() => simulated.stop());

  function engineWith(fault: Fault): EngineUnderTest {
    const whole: ServiceImpl<typeof ProcessorService> = {
      verifyAccount: (request) => sound.verifyAccount(request),
      authorize: (request, { signal }) => sound.authorize(request, { signal }),
      capture: (request) => sound.capture(request),
      void: (request) => sound.void(request),
      refund: (request) => sound.refund(request),
      getOperation: (request) => sound.getOperation(request),
      cancel: (request) => sound.cancel(request),
      reverse: (request) => sound.reverse(request),
      listOperations: (request) => sound.listOperations(request),
      ...fault(sound),
    };
    return { transport: createRouterTransport((router) => router.service(ProcessorService, whole)), means };
  }
  const promises = GROUPS.flatMap((group) => group.promises);

  it('finds nothing in a sound engine', async () => {
    const engine = engineWith(() => ({}));
    for (const promise of promises) {
      const verdict = await hold(engine, promise);
      assert.notEqual(verdict.came, 'broken', `${promise.title}: ${verdict.came === 'broken' && verdict.why.message}`);
    }
  });

  for (const [name, foundBy, fault] of [...FAULTS, ...FAULTS_OF_FIELDS])
    it(`finds an engine that ${name}`, async () => {
      const promise = promises.find(({ title }) => title === foundBy);
      assert.ok(promise, `no promise is called "${foundBy}"`);
      const verdict = await hold(engineWith(fault), promise);
      assert.equal(verdict.came, 'broken');
      assert.ok(verdict.came === 'broken' && verdict.why.message.length > 10);
    });

  it('finds an engine that shows an absent buyer a page, without encryption, and again after Cancel', async () => {
    const page = { outcome: { kind: { case: 'buyerAction' as const, value: { url: 'http://pay.example/1' } } } };
    const told = { result: { case: 'outcome' as const, value: page.outcome } };
    const engine = engineWith(() => ({ authorize: () => page, getOperation: () => told, cancel: () => told }));
    const cards = { ...means.cards, buyerAction: undefined };
    const about = promises.filter(({ needs }) => needs?.includes('buyerAction'));
    assert.equal(about.length, 4);
    for (const promise of about) {
      assert.equal((await hold({ ...engine, means: { ...means, cards } }, promise)).came, 'skipped');
      assert.equal((await hold(engine, promise)).came, 'broken', promise.title);
    }
  });

  it('finds an engine that serves anybody', async () => {
    const engine = engineWith(() => ({}));
    const door = promises.find(({ needs }) => needs?.includes('token'))!;
    assert.equal((await hold(engine, door)).came, 'skipped');
    assert.equal((await hold({ ...engine, withoutToken: engine.transport }, door)).came, 'broken');
  });

  it('names no promise twice', () => {
    assert.equal(new Set(promises.map(({ title }) => title)).size, promises.length);
  });
});
