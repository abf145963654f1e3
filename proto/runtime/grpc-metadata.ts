import type { DescMethod } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';

// What both sides of a Connect service on grpc-js share: headers are Headers to Connect and Metadata to grpc-js.

const STATUS_DETAILS = 'grpc-status-details-bin';

/** Set by grpc-js itself, or of one hop only. */
const OF_THE_PROTOCOL = /^(:|grpc-|content-|te$|user-agent$|connection$|host$)/;

/** 4 MiB, gRPC's own default, for both directions. */
export const MESSAGE_MAX_BYTES = 4 * 1024 * 1024;

export const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

export function toMetadata(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of headers) {
    if (OF_THE_PROTOCOL.test(name) && name !== STATUS_DETAILS) continue;
    if (!name.endsWith('-bin')) metadata.add(name, value);
    else for (const part of value.split(',')) metadata.add(name, Buffer.from(part.trim(), 'base64'));
  }
  return metadata;
}

export function toHeaders(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const name of Object.keys(metadata.getMap()))
    for (const value of metadata.get(name))
      headers.append(name, typeof value === 'string' ? value : value.toString('base64'));
  return headers;
}
