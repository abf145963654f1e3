import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type HandlerContext, type Transport } from '@connectrpc/connect';
import type { GetTransactionRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { type GetTransactionResponseSchema, PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { errorInfo, rpcError } from '../../proto/runtime/rpc.ts';
import { carriers, wires } from './carriers.ts';

type Answer = MessageInitShape<typeof GetTransactionResponseSchema>;
type Handler = (request: GetTransactionRequest, context: HandlerContext) => Promise<Answer>;

const BEYOND_DOUBLE = 9_007_199_254_740_993n;
/** gRPC's own default, in bytes. */
const MESSAGE_MAX = 4 * 1024 * 1024;

for (const carrier of carriers) {
  describe(`a call over ${carrier.name}`, () => {
    let handler: Handler;
    let transport: Transport;
    let close: () => Promise<void>;

    const call = (options?: Parameters<ReturnType<typeof client>['getTransaction']>[1]) =>
      client().getTransaction({ key: { case: 'id', value: 'an id' } }, options);
    const client = () => createClient(PaymentsService, transport);
    const refusal = (options?: Parameters<typeof call>[0]) =>
      call(options).then(
        () => assert.fail('the call was answered'),
        (error: unknown) => {
          assert(error instanceof ConnectError);
          return error;
        },
      );

    before(async () => {
      const opened = await carrier.open((router) =>
        router.service(PaymentsService, { getTransaction: (request, context) => handler(request, context) }),
      );
      transport = opened.transport;
      close = opened.close;
    });
    after(() => close());

    it('keeps an int64 above 2^53', async () => {
      handler = async ({ key }) => ({ transaction: { id: key.value ?? '', capturedAmount: BEYOND_DOUBLE } });
      const { transaction } = await call();
      assert.equal(transaction?.id, 'an id');
      assert.equal(transaction?.capturedAmount, BEYOND_DOUBLE);
    });

    it('carries an error with its ErrorInfo', async () => {
      handler = async () => {
        throw rpcError(Code.FailedPrecondition, 'ALREADY_VOIDED', 'transaction é1 is voided', { transaction: 'é1' });
      };
      const error = await refusal();
      assert.equal(error.code, Code.FailedPrecondition);
      assert.equal(error.rawMessage, 'transaction é1 is voided');
      const info = errorInfo(error);
      assert.equal(info?.reason, 'ALREADY_VOIDED');
      assert.equal(info.domain, 'payments');
      assert.deepEqual({ ...info.metadata }, { transaction: 'é1' });
    });

    it('carries the text of an error, whatever is in it', async () => {
      const text = '50% of é1: a/b, c? (#2 & more)';
      handler = async () => {
        throw new ConnectError(text, Code.Aborted);
      };
      const error = await refusal();
      assert.deepEqual([error.code, error.rawMessage], [Code.Aborted, text]);
    });

    // What goes over no wire was held to a limit where it came from.
    if (wires.includes(carrier))
      it('refuses a message above the limit in either direction, and serves on', async () => {
        const text = 'x'.repeat(MESSAGE_MAX);
        handler = async ({ key }) => ({ transaction: { id: key.value === 'much' ? text : 'little' } });
        const get = (value: string) => client().getTransaction({ key: { case: 'id', value } });
        for (const value of [text, 'much'])
          await assert.rejects(get(value), (error) => ConnectError.from(error).code === Code.ResourceExhausted);
        assert.equal((await get('x'.repeat(MESSAGE_MAX - 100))).transaction?.id, 'little');
      });

    it('says "internal error" of an untyped error and nothing of its text', async () => {
      handler = async () => {
        throw new Error('password=hunter2');
      };
      const error = await refusal();
      assert.equal(error.code, Code.Internal);
      assert.equal(error.rawMessage, 'internal error');
      assert.doesNotMatch(JSON.stringify([...error.metadata]), /hunter2/);
    });

    it('refuses a method that is not implemented', async () => {
      const error = await client()
        .voidTransaction({})
        .catch((thrown: unknown) => ConnectError.from(thrown));
      assert(error instanceof ConnectError);
      assert.equal(error.code, Code.Unimplemented);
    });

    it('carries headers, binary ones too, and trailers', async () => {
      let asked: Headers | undefined;
      handler = async (_, context) => {
        asked = context.requestHeader;
        context.responseHeader.set('x-answer', 'header');
        context.responseTrailer.set('x-answer-end', 'trailer');
        return {};
      };
      let header: Headers | undefined;
      let trailer: Headers | undefined;
      await call({
        headers: { 'x-ask': 'one', 'x-ask-bin': 'AAH/' },
        onHeader: (headers) => {
          header = headers;
        },
        onTrailer: (headers) => {
          trailer = headers;
        },
      });
      assert.equal(asked?.get('x-ask'), 'one');
      assert.equal(asked.get('x-ask-bin'), 'AAH/');
      assert.equal(header?.get('x-answer'), 'header');
      assert.equal(trailer?.get('x-answer-end'), 'trailer');
    });

    it('ends at its deadline on both sides, and the handler knows the time left', async () => {
      let ended: Promise<unknown> | undefined;
      let left: number | undefined;
      handler = async (_, context) => {
        left = context.timeoutMs();
        ended = once(context.signal, 'abort');
        await ended;
        return {};
      };
      const error = await refusal({ timeoutMs: 200 });
      assert.equal(error.code, Code.DeadlineExceeded);
      await ended;
      assert(left !== undefined && left > 0 && left <= 200, `${left} ms were left`);
    });

    it('ends when the caller aborts, and the handler learns of it', async () => {
      const caller = new AbortController();
      let ended: Promise<unknown> | undefined;
      handler = async (_, context) => {
        ended = once(context.signal, 'abort');
        caller.abort();
        await ended;
        return {};
      };
      const error = await refusal({ signal: caller.signal });
      assert.equal(error.code, Code.Canceled);
      await ended;
    });
  });
}
