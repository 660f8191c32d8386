"""The agent's contract, as its reflection shows it, beside the one that the published package brings along: in the newest
version they are the same, names and numbers and types, and what an older one knows is all there.
"""

import asyncio
import unittest

from google.protobuf import descriptor_pb2
from grpclib.client import Channel
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

import support
from modal_proto import api_pb2, task_command_router_pb2 as pb

SERVICE = "modal.task_command_router.TaskCommandRouter"


async def shown(port, symbol):
    """The file of the contract in which `symbol` is."""
    channel = Channel("127.0.0.1", port)
    try:
        async with ServerReflectionStub(channel).ServerReflectionInfo.open() as stream:
            await stream.send_message(ServerReflectionRequest(file_containing_symbol=symbol), end=True)
            answer = await stream.recv_message()
    finally:
        channel.close()
    for data in answer.file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        if f"{file.package}." == symbol[: len(file.package) + 1]:
            return file
    raise AssertionError(f"no file of {symbol}: {answer}")


def facts(file, only=None):
    """All that two contracts must agree on, one line each."""
    found = set()

    def enum(inside, of):
        found.update(f"{inside}{of.name}.{value.name} = {value.number}" for value in of.value)

    def message(inside, of):
        name = f"{inside}{of.name}"
        found.add(name)
        for field in of.field:
            oneof = of.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            kind = f"{field.label} {field.type} {field.type_name} {oneof}"
            found.add(f"{name}.{field.name} = {field.number}: {kind}")
        for nested in of.nested_type:
            message(f"{name}.", nested)
        for nested in of.enum_type:
            enum(f"{name}.", nested)

    for of in file.message_type:
        if only is None or of.name in only:
            message("", of)
    for of in file.enum_type:
        enum("", of)
    for service in file.service:
        for method in service.method:
            streams = f"{method.client_streaming} {method.server_streaming}"
            found.add(f"{method.name}: {method.input_type} {method.output_type} {streams}")
    return found


def published(module):
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


class Contract(support.Case):
    def test_it_is_the_published_one(self):
        router = asyncio.run(shown(self.agent.port, SERVICE))
        client = asyncio.run(shown(self.agent.port, "modal.client.PTYInfo"))
        ours, theirs = facts(router), facts(published(pb))
        self.assertEqual(theirs - ours, set())
        # Of Modal's other contract only what this one names.
        names = {of.name for of in client.message_type}
        self.assertIn("PTYInfo", names)

        def of_names(file):
            return {fact for fact in facts(file, names) if fact.split(".")[0] in names}

        if support.NEW:
            self.assertEqual(ours, theirs)
            self.assertEqual(of_names(client), of_names(published(api_pb2)))


if __name__ == "__main__":
    unittest.main()
