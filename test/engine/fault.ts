import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import type { OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import type {
  AuthorizeRequest,
  CancelRequest,
  CaptureRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ProcessorService,
  RefundRequest,
  ReverseRequest,
  VerifyAccountRequest,
  VoidRequest,
} from '../../proto/gen/processor/v1/processor_pb.js';

// What a test may make of a call to the simulated engine.

export type Method = keyof typeof ProcessorService.method;

export type ProcessorRequest =
  | VerifyAccountRequest
  | AuthorizeRequest
  | CaptureRequest
  | VoidRequest
  | RefundRequest
  | GetOperationRequest
  | CancelRequest
  | ReverseRequest
  | ListOperationsRequest;

/**
 * What a test makes of one call.
 * 'unavailable': nothing is done, UNAVAILABLE at once. 'drop answer': done and written, then UNAVAILABLE at once.
 * 'ignore': nothing is done, and no answer. 'hang': done and written, and no answer.
 * A ConnectError is thrown, nothing is done. An outcome is the engine's decision: of an order it is written, and moves money as it
 * says; of GetOperation, Cancel and Reverse it is only said. A hook that waits before it answers delays the whole call.
 */
export type Fault = 'unavailable' | 'drop answer' | 'ignore' | 'hang' | ConnectError | OutcomeInit;
export type OutcomeInit = MessageInitShape<typeof OutcomeSchema>;
export type FaultHook = (
  method: Method,
  request: ProcessorRequest,
  requestId: string,
) => Fault | undefined | Promise<Fault | undefined>;
