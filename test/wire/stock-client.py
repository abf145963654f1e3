"""A gRPC client that knows nothing of the service but what reflection says. Prints one line of JSON.

python stock-client.py [--token T] [--ca FILE [--cert FILE --key FILE]] host:port list | health SERVICE | call SERVICE METHOD JSON
"""

import argparse
import json
import pathlib

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT_S = 10


def main():
    parser = argparse.ArgumentParser()
    for option in ["--token", "--ca", "--cert", "--key"]:
        parser.add_argument(option)
    parser.add_argument("target")
    parser.add_argument("what", choices=["list", "health", "call"])
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    try:
        with connect(options) as channel:
            print(json.dumps({"answer": ask(channel, options)}))
    except grpc.RpcError as error:
        print(json.dumps({"code": error.code().name, "details": error.details()}))


def connect(options):
    if not options.ca:
        return grpc.insecure_channel(options.target)
    pem = [path and pathlib.Path(path).read_bytes() for path in [options.ca, options.key, options.cert]]
    return grpc.secure_channel(options.target, grpc.ssl_channel_credentials(*pem))


def ask(channel, options):
    reflection = ProtoReflectionDescriptorDatabase(channel)
    if options.what == "list":
        return sorted(reflection.get_services())
    if options.what == "health":
        request = health_pb2.HealthCheckRequest(service=options.rest[0])
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    service, name, body = options.rest
    method = DescriptorPool(reflection).FindServiceByName(service).FindMethodByName(name)
    request = json_format.Parse(body, message_factory.GetMessageClass(method.input_type)())
    answer_class = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{service}/{name}", type(request).SerializeToString, answer_class.FromString)
    metadata = [("authorization", f"Bearer {options.token}")] if options.token else []
    return json_format.MessageToDict(call(request, timeout=TIMEOUT_S, metadata=metadata))


main()
