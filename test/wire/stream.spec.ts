import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type HandlerContext, type Transport } from '@connectrpc/connect';
import {
  PaymentsService,
  type WatchTransactionResponseSchema,
} from '../../proto/gen/payments/v1/payments_service_pb.js';
import { errorInfo, rpcError } from '../../proto/runtime/rpc.ts';
import { wires } from './carriers.ts';

type Answers = AsyncIterable<MessageInitShape<typeof WatchTransactionResponseSchema>>;

const BEYOND_DOUBLE = 9_007_199_254_740_993n;

for (const carrier of wires) {
  describe(`a stream of answers over ${carrier.name}`, () => {
    let handler: (context: HandlerContext) => Answers;
    let transport: Transport;
    let close: () => Promise<void>;
    const watch = (options?: { signal?: AbortSignal; timeoutMs?: number; onHeader?: (headers: Headers) => void }) =>
      createClient(PaymentsService, transport).watchTransaction({ key: { case: 'id', value: 'an id' } }, options);

    before(async () => {
      const opened = await carrier.open((router) =>
        router.service(PaymentsService, { watchTransaction: (_, context) => handler(context) }),
      );
      transport = opened.transport;
      close = opened.close;
    });
    after(() => close());

    /** What came, and how it ended. */
    async function follow(answers: AsyncIterable<{ transaction?: { sequence: bigint } | undefined }>) {
      const seen: (bigint | undefined)[] = [];
      try {
        for await (const { transaction } of answers) seen.push(transaction?.sequence);
      } catch (error) {
        assert(error instanceof ConnectError);
        return { seen, error };
      }
      return { seen };
    }

    it('gives them in order, whole, however many they are', async () => {
      const sequences = [BEYOND_DOUBLE, ...Array.from({ length: 500 }, (_, i) => BigInt(i))];
      handler = async function* () {
        for (const sequence of sequences) yield { transaction: { sequence, errorMessage: 'x'.repeat(1000) } };
      };
      assert.deepEqual(await follow(watch()), { seen: sequences });
    });

    it('gives each of them when it is said, and the headers before', async () => {
      const taken = Promise.withResolvers<void>();
      handler = async function* (context) {
        context.responseHeader.set('x-answer', 'header');
        yield { transaction: { sequence: 1n } };
        await taken.promise;
        yield { transaction: { sequence: 2n } };
      };
      let header: Headers | undefined;
      const onHeader = (headers: Headers) => {
        header = headers;
      };
      const seen: (bigint | undefined)[] = [];
      for await (const { transaction } of watch({ onHeader })) {
        seen.push(transaction?.sequence);
        assert.equal(header?.get('x-answer'), 'header');
        taken.resolve();
      }
      assert.deepEqual(seen, [1n, 2n]);
    });

    it('ends with the error that came after some of them, with its ErrorInfo', async () => {
      handler = async function* () {
        yield { transaction: { sequence: 1n } };
        throw rpcError(Code.NotFound, 'TRANSACTION_NOT_FOUND', 'it is gone', { id: '7' });
      };
      const { seen, error } = await follow(watch());
      assert.deepEqual(seen, [1n]);
      assert.deepEqual([error?.code, error?.rawMessage], [Code.NotFound, 'it is gone']);
      assert.deepEqual({ ...errorInfo(error!)?.metadata }, { id: '7' });
    });

    it('ends with the error that came before any of them', async () => {
      // biome-ignore lint/correctness/useYield: it fails before its first answer.
      handler = async function* () {
        throw rpcError(Code.NotFound, 'TRANSACTION_NOT_FOUND', 'it never was');
      };
      const { seen, error } = await follow(watch());
      assert.deepEqual([seen, error?.code, errorInfo(error!)?.reason], [[], Code.NotFound, 'TRANSACTION_NOT_FOUND']);
    });

    it('says "internal error" of an untyped error and nothing of its text', async () => {
      handler = async function* () {
        yield { transaction: { sequence: 1n } };
        throw new Error('password=hunter2');
      };
      const { error } = await follow(watch());
      assert.deepEqual([error?.code, error?.rawMessage], [Code.Internal, 'internal error']);
      assert.doesNotMatch(JSON.stringify([...error!.metadata]), /hunter2/);
    });

    /** Answers once and then waits for its caller to go. */
    const waitForEnd = () => {
      const ended = Promise.withResolvers<void>();
      handler = async function* (context) {
        // It may be held up at what nobody takes any more: only the signal is sure to tell.
        context.signal.addEventListener('abort', () => ended.resolve());
        yield { transaction: { sequence: 1n } };
        await once(context.signal, 'abort');
      };
      return ended.promise;
    };

    it('ends when the caller aborts, and the handler learns of it', async () => {
      const ended = waitForEnd();
      const caller = new AbortController();
      await assert.rejects(
        async () => {
          for await (const _ of watch({ signal: caller.signal })) caller.abort();
        },
        (error) => error instanceof ConnectError && error.code === Code.Canceled,
      );
      await ended;
    });

    it('ends at its deadline on both sides', async () => {
      const ended = waitForEnd();
      const { seen, error } = await follow(watch({ timeoutMs: 200 }));
      assert.deepEqual([seen, error?.code], [[1n], Code.DeadlineExceeded]);
      await ended;
    });
  });
}
