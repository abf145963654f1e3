import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import {
  type CaptureTransactionRequest,
  type CaptureTransactionResponse,
  CaptureTransactionResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { captureOrVoid } from './capture-or-void.ts';
import type { Core } from './context.ts';

/** Takes authorised money, once, in whole or in part. */
export async function captureTransaction(
  core: Core,
  request: CaptureTransactionRequest,
  context: HandlerContext,
): Promise<CaptureTransactionResponse> {
  return create(CaptureTransactionResponseSchema, await captureOrVoid(core, 'capture', request, context));
}
