import { create, createFileRegistry, type JsonObject } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Log } from './log.ts';
import { histogram } from './metrics.ts';

// What every carrier of a gRPC service runs and answers.

const DOMAIN = 'payments';

const field = (name: string, number: number) => ({ name, number, type: FieldDescriptorProto_Type.STRING });

/** google.rpc.ErrorInfo, described here because no package carries Google's error_details.proto. */
const errorDetails = create(FileDescriptorProtoSchema, {
  name: 'google/rpc/error_details.proto',
  package: 'google.rpc',
  syntax: 'proto3',
  messageType: [
    {
      name: 'ErrorInfo',
      field: [
        field('reason', 1),
        field('domain', 2),
        {
          ...field('metadata', 3),
          type: FieldDescriptorProto_Type.MESSAGE,
          typeName: '.google.rpc.ErrorInfo.MetadataEntry',
          label: FieldDescriptorProto_Label.REPEATED,
        },
      ],
      nestedType: [{ name: 'MetadataEntry', field: [field('key', 1), field('value', 2)], options: { mapEntry: true } }],
    },
  ],
});
const ErrorInfoSchema = createFileRegistry(errorDetails, () => undefined).getMessage('google.rpc.ErrorInfo')!;

export interface ErrorInfo {
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
  const value: JsonObject = { reason, domain: DOMAIN, metadata };
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

/** One line and one measure for each call. Only here is the text of an untyped error seen: the wire says "internal error". */
export function logCalls(log: Log): Interceptor {
  const duration = histogram('rpc_duration_seconds', 'Calls by method and outcome.', ['method', 'code']);
  return (next) => async (request) => {
    const started = performance.now();
    const end = (code: string) => {
      const durationMs = performance.now() - started;
      duration.observe({ method: request.method.name, code }, durationMs / 1000);
      return { method: request.method.name, code, durationMs: Math.round(durationMs) };
    };
    try {
      const response = await next(request);
      log.debug('rpc.answered', end('OK'));
      return response;
    } catch (err) {
      const error = asRpcError(err);
      const fields = end(Code[error.code]);
      if (OUR_FAULT.has(error.code)) log.error('rpc.failed', { ...fields, err });
      else log.info('rpc.refused', { ...fields, reason: errorInfo(error)?.reason });
      throw err;
    }
  };
}

const OUR_FAULT: ReadonlySet<Code> = new Set([Code.Internal, Code.Unknown, Code.DataLoss]);
