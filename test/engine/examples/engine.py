"""The smallest engine that keeps the promises of processor.v1, with books that survive it. It decides at once: nothing is pending.
ENGINE_TOKEN=... ENGINE_PORT=50061 ENGINE_FILE=books.sqlite python engine.py, with the generated code on PYTHONPATH."""
import hmac, os, sqlite3, threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from payments.v1 import reason_pb2 as reasons
from payments.v1.outcome_pb2 import Outcome
from processor.v1 import processor_pb2 as pb, processor_pb2_grpc as port

books = sqlite3.connect(os.environ.get("ENGINE_FILE", ":memory:"), check_same_thread=False)
books.execute("create table if not exists operations (request_id text primary key, kind text, outcome blob)")
books.execute("create table if not exists payments (request_id text primary key, currency text, held int, taken int)")
one_at_a_time = threading.Lock()  # Of several processes: "begin immediate" here, a row lock in a database server.

def yes(request_id):
    return Outcome(approved={"processor_reference": f"ref-{request_id}"})

def find(request_id):
    row = books.execute("select kind, outcome from operations where request_id = ?", (request_id,)).fetchone()
    return (row[0], Outcome.FromString(row[1])) if row else (None, None)

def write(request_id, kind, outcome):
    books.execute("insert into operations values (?, ?, ?)", (request_id, kind, outcome.SerializeToString()))
    return outcome

def once(kind, order, context, decide):
    """Decides an order once for its request id. What is answered has been committed."""
    with one_at_a_time, books:
        known, outcome = find(order.request_id)
        if not order.request_id or known not in (None, kind, "tombstone"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request_id, or one of another kind of operation")
        return outcome or write(order.request_id, kind, decide(order))

def move(kind, answer, reason, how):
    """A capture, void or refund: a change of what its payment holds and has taken (minor units), if that may be."""
    sql = f"update payments set {how} and request_id = :payment and currency = :currency"
    def handle(engine, request, context):
        def decide(order):
            names = {"payment": request.original.request_id, "amount": order.amount, "currency": order.currency}
            moved = books.execute(sql, names).rowcount
            return yes(order.request_id) if moved else Outcome(declined={"reason": reason, "error_code": kind})
        return answer(outcome=once(kind, request.instruction, context, decide))
    return handle

class Engine(port.ProcessorServiceServicer):
    def VerifyAccount(self, request, context):
        if request.credentials.values.get("apiKey") != "test":
            return pb.VerifyAccountResponse(refusal={"reason": reasons.REASON_MERCHANT_ACCOUNT_INVALID})
        account = {"account_reference": f"account-{request.external_merchant_id}", "name": "Example account"}
        return pb.VerifyAccountResponse(account=account)

    def Authorize(self, request, context):
        def decide(order):
            if request.details.card.number == "4000000000000002" or order.amount < 1:
                return Outcome(declined={"reason": reasons.REASON_GENERAL_BANK_DECLINE, "error_code": "BANK-05"})
            held, taken = (0, order.amount) if request.capture else (order.amount, 0)
            books.execute("insert into payments values (?, ?, ?, ?)", (order.request_id, order.currency, held, taken))
            return yes(order.request_id)
        return pb.AuthorizeResponse(outcome=once("authorize", request.instruction, context, decide))

    Capture = move("capture", pb.CaptureResponse, reasons.REASON_REQUEST_IS_NOT_ALLOWED,
                   "held = 0, taken = :amount where :amount between 1 and held")
    Void = move("void", pb.VoidResponse, reasons.REASON_REQUEST_IS_NOT_ALLOWED,
                "held = 0 where held = :amount and held > 0")
    Refund = move("refund", pb.RefundResponse, reasons.REASON_REFUND_NOT_ALLOWED,
                  "taken = taken - :amount where :amount between 1 and taken")

    def GetOperation(self, request, context):
        with one_at_a_time:
            outcome = find(request.subject.request_id)[1]
        return pb.GetOperationResponse(outcome=outcome) if outcome else pb.GetOperationResponse(not_found={})

    def Cancel(self, request, context):
        with one_at_a_time, books:
            kind, outcome = find(request.subject.request_id)
            if kind is None:
                write(request.subject.request_id, "tombstone", Outcome(failed={"error_code": "CANCELLED"}))
        is_over = kind not in (None, "tombstone")
        return pb.CancelResponse(outcome=outcome) if is_over else pb.CancelResponse(ended={"tombstone": True})

    def Reverse(self, request, context):
        request_id = request.subject.request_id
        with one_at_a_time, books:
            undo = books.execute("update payments set held = 0, taken = 0 where request_id = ?", (request_id,))
        return pb.ReverseResponse(outcome=yes(f"reversal-{request_id}") if undo.rowcount else Outcome(failed={}))

class Door(grpc.ServerInterceptor):
    def intercept_service(self, serve, call):
        given = dict(call.invocation_metadata).get("authorization", "")
        is_known = hmac.compare_digest(given.encode(), f"Bearer {os.environ['ENGINE_TOKEN']}".encode())
        refuse = lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is wrong")
        return serve(call) if is_known else grpc.unary_unary_rpc_method_handler(refuse)

server = grpc.server(ThreadPoolExecutor(16), interceptors=[Door()])
port.add_ProcessorServiceServicer_to_server(Engine(), server)
server.add_insecure_port(f"127.0.0.1:{os.environ.get('ENGINE_PORT', '50061')}")
server.start()
server.wait_for_termination()
