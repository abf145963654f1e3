import { createFileRegistry, fromJson, type JsonObject } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Log } from './log.ts';
import { histogram } from './metrics.ts';

// What every carrier of a gRPC service runs and answers.

/** gRPC's own default, either way; a carrier answers RESOURCE_EXHAUSTED to more. */
const MESSAGE_MAX_BYTES = 4 * 1024 * 1024;

/** For carriers of Connect's own. */
export const MESSAGE_LIMITS = { readMaxBytes: MESSAGE_MAX_BYTES, writeMaxBytes: MESSAGE_MAX_BYTES };

/** For grpc-js. */
export const GRPC_MESSAGE_LIMITS = {
  'grpc.max_receive_message_length': MESSAGE_MAX_BYTES,
  'grpc.max_send_message_length': MESSAGE_MAX_BYTES,
};

/** google.rpc.ErrorInfo, described here because no package carries Google's error_details.proto. */
const text = (name: string, number: number) => ({ name, number, type: 'TYPE_STRING' });
const entry = { name: 'MetadataEntry', field: [text('key', 1), text('value', 2)], options: { mapEntry: true } };
const map = { type: 'TYPE_MESSAGE', label: 'LABEL_REPEATED', typeName: '.google.rpc.ErrorInfo.MetadataEntry' };
const fields = [text('reason', 1), text('domain', 2), { name: 'metadata', number: 3, ...map }];
const errorDetails = fromJson(FileDescriptorProtoSchema, {
  name: 'google/rpc/error_details.proto',
  package: 'google.rpc',
  syntax: 'proto3',
  messageType: [{ name: 'ErrorInfo', field: fields, nestedType: [entry] }],
});
const ErrorInfoSchema = createFileRegistry(errorDetails, () => undefined).getMessage('google.rpc.ErrorInfo')!;

interface ErrorInfo {
  /** UPPER_SNAKE. */
  reason: string;
  domain: string;
  /** Everything variable that the message mentions. */
  metadata: Record<string, string>;
}

/** An error for the PSP's callers, with one ErrorInfo. What Wix may hear is an answer with a refusal, never an error. */
export function rpcError(
  code: Code,
  reason: string,
  message: string,
  metadata: Readonly<Record<string, string>> = {},
): ConnectError {
  const value: JsonObject = { reason, domain: 'payments', metadata };
  return new ConnectError(message, code, undefined, [{ desc: ErrorInfoSchema, value }]);
}

/** The ErrorInfo of an error that came over the wire or from rpcError. */
export function errorInfo(error: ConnectError): ErrorInfo | undefined {
  return error.findDetails(ErrorInfoSchema)[0] as unknown as ErrorInfo | undefined;
}

/** What a caller may see of an error: itself if it was thrown as a ConnectError, else that there was one. */
export function asRpcError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  return new ConnectError('internal error', Code.Internal, undefined, undefined, error);
}

const OUR_FAULT: ReadonlySet<Code> = new Set([Code.Internal, Code.Unknown, Code.DataLoss]);

/**
 * One line and one measure for each call. Only here is the text of an untyped error seen: the wire says "internal error", and UNAVAILABLE
 * where the same may work later.
 */
export function logCalls(log: Log, isOutage: (error: unknown) => boolean = () => false): Interceptor {
  const duration = histogram('rpc_duration_seconds', 'Calls by method and outcome.', ['method', 'code']);
  return (next) => async (request) => {
    const method = request.method.name;
    const startedAt = performance.now();
    const end = (code: string) => {
      const durationMs = performance.now() - startedAt;
      duration.observe({ method, code }, durationMs / 1000);
      return { method, code, durationMs: Math.round(durationMs) };
    };
    try {
      const response = await next(request);
      log.debug('rpc.answered', end('OK'));
      return response;
    } catch (err) {
      const isAway = isOutage(err);
      const error = isAway
        ? rpcError(Code.Unavailable, 'DATABASE_UNAVAILABLE', 'the database did not answer: ask again')
        : asRpcError(err);
      const fields = end(Code[error.code]);
      if (isAway || OUR_FAULT.has(error.code)) log.error('rpc.failed', { ...fields, err });
      else log.info('rpc.refused', { ...fields, reason: errorInfo(error)?.reason });
      throw error;
    }
  };
}
