import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import {
  type VoidTransactionRequest,
  type VoidTransactionResponse,
  VoidTransactionResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { captureOrVoid } from './capture-or-void.ts';
import type { Core } from './context.ts';

/** Releases an authorization, as a whole. */
export async function voidTransaction(
  core: Core,
  request: VoidTransactionRequest,
  context: HandlerContext,
): Promise<VoidTransactionResponse> {
  return create(VoidTransactionResponseSchema, await captureOrVoid(core, 'void', request, context));
}
