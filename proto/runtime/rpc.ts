import { create, createFileRegistry, type JsonObject } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Log } from './log.ts';
import { histogram } from './metrics.ts';

// What every carrier of a gRPC service runs and answers.

const DOMAIN = 'payments';

/** google.rpc.ErrorInfo, described here because no package carries Google's error_details.proto. */
export const ErrorInfoSchema = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: 'google/rpc/error_details.proto',
    package: 'google.rpc',
    syntax: 'proto3',
    messageType: [
      {
        name: 'ErrorInfo',
        field: [
          { name: 'reason', number: 1, type: Type.STRING, label: Label.OPTIONAL },
          { name: 'domain', number: 2, type: Type.STRING, label: Label.OPTIONAL },
          {
            name: 'metadata',
            number: 3,
            type: Type.MESSAGE,
            label: Label.REPEATED,
            typeName: '.google.rpc.ErrorInfo.MetadataEntry',
          },
        ],
        nestedType: [
          {
            name: 'MetadataEntry',
            field: [
              { name: 'key', number: 1, type: Type.STRING, label: Label.OPTIONAL },
              { name: 'value', number: 2, type: Type.STRING, label: Label.OPTIONAL },
            ],
            options: { mapEntry: true },
          },
        ],
      },
    ],
  }),
  () => undefined,
).getMessage('google.rpc.ErrorInfo')!;

/**
 * An error for the PSP's callers: a code, and one ErrorInfo with a reason in UPPER_SNAKE and everything variable that the message
 * mentions. What Wix may hear is an answer with a refusal, never an error.
 */
export function rpcError(
  code: Code,
  reason: string,
  message: string,
  metadata: Readonly<Record<string, string>> = {},
): ConnectError {
  const value = { reason, domain: DOMAIN, metadata } as unknown as JsonObject;
  return new ConnectError(message, code, undefined, [{ desc: ErrorInfoSchema, value }]);
}

/** The ErrorInfo of an error that came over the wire or from rpcError. */
export function errorInfo(
  error: ConnectError,
): { reason: string; domain: string; metadata: Record<string, string> } | undefined {
  return error.findDetails(ErrorInfoSchema)[0] as unknown as ReturnType<typeof errorInfo>;
}

/** What a caller may see of an error: itself if it was thrown as a ConnectError, else that there was one. */
export function asRpcError(error: unknown): ConnectError {
  return error instanceof ConnectError
    ? error
    : new ConnectError('internal error', Code.Internal, undefined, undefined, error);
}

/** One line and one measure for each call. Only here is the text of an untyped error seen: the wire says "internal error". */
export function logCalls(log: Log): Interceptor {
  const duration = histogram('rpc_duration_seconds', 'Calls by method and outcome.', ['method', 'code']);
  return (next) => async (request) => {
    const started = performance.now();
    const method = request.method.name;
    const end = () => {
      const durationMs = performance.now() - started;
      return { method, durationMs: Math.round(durationMs * 10) / 10 };
    };
    const measure = (code: string) => duration.observe({ method, code }, (performance.now() - started) / 1000);
    try {
      const response = await next(request);
      measure('OK');
      log.debug('rpc.answered', end());
      return response;
    } catch (err) {
      const error = asRpcError(err);
      measure(Code[error.code]);
      const fields = { ...end(), code: Code[error.code], reason: errorInfo(error)?.reason };
      if (isOurFault(error.code)) log.error('rpc.failed', { ...fields, err });
      else log.info('rpc.refused', fields);
      throw err;
    }
  };
}

function isOurFault(code: Code): boolean {
  return code === Code.Internal || code === Code.Unknown || code === Code.DataLoss;
}
