import * as grpc from '@grpc/grpc-js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { pathOf } from '../../proto/runtime/grpc-metadata.ts';

/** An engine that answers every call with the very bytes that it was asked with. */
export async function startEchoEngine(): Promise<{ url: string; stop(): void }> {
  const same = (bytes: Buffer) => bytes;
  const bytes = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  const definition = { ...bytes, requestStream: false, responseStream: false } as const;
  const echo = (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) =>
    answer(null, call.request);
  const { methods } = ProcessorService;
  const server = new grpc.Server();
  server.addService(
    Object.fromEntries(methods.map((method) => [method.name, { ...definition, path: pathOf(method) }])),
    Object.fromEntries(methods.map(({ name }) => [name, echo])),
  );
  const insecure = grpc.ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', insecure, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}
