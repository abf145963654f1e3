import { type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { logVerbosity, Metadata, type MethodDefinition, setLogVerbosity } from '@grpc/grpc-js';

// What Connect and grpc-js have different words for, on both sides of a call.

// What grpc-js logs by itself quotes what a caller sent, tokens too (R34). Of a call its error tells; GRPC_VERBOSITY and GRPC_TRACE
// turn nothing on again.
setLogVerbosity(logVerbosity.NONE);

export type Message = MessageShape<DescMessage>;

export const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

/** A method as grpc-js knows it: one message is asked, one or many are answered. */
export function definitionOf(method: DescMethod): MethodDefinition<Message, Message> {
  const write = (schema: DescMessage) => (message: Message) => Buffer.from(toBinary(schema, message));
  const read = (schema: DescMessage) => (bytes: Buffer) => fromBinary(schema, bytes);
  return {
    path: pathOf(method),
    requestStream: false,
    responseStream: method.methodKind === 'server_streaming',
    requestSerialize: write(method.input),
    requestDeserialize: read(method.input),
    responseSerialize: write(method.output),
    responseDeserialize: read(method.output),
  };
}

/** What is binary is in base64 in Headers, and bytes in Metadata. */
export function toMetadata(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of headers) metadata.set(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  return metadata;
}

export function toHeaders(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(metadata.getMap()))
    headers.set(name, typeof value === 'string' ? value : value.toString('base64'));
  return headers;
}
