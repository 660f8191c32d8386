"""Who may call what, and what everybody may: health and reflection."""

import unittest

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import exec_service_pb2 as pb
from lines import GOAWAY, PING, Line
from support import AUDIENCE, METHOD, OWNER, SECRET, TOKEN, WAYS, Case, alive, eventually, jwt
from tdx.volt_api.volt.v1 import terminal_api_pb2 as volt

EXEC, TERMINAL, HEALTH = "exec_service.ExecService", "tdx.volt_api.volt.v1.TerminalAPI", "grpc.health.v1.Health"
UNAUTHENTICATED, PERMISSION_DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
SERVING = health_pb2.HealthCheckResponse.SERVING


class Access(Case):
    args = ("--tls-self-signed", "--jwt-audience", AUDIENCE)
    env = {"PID1_JWT_SECRET": SECRET}

    def refused(self, **options):
        """How a call that would run something is refused."""
        stream = self.stream(**options).sh("echo > ran")
        status = stream.over()
        self.assertEqual(stream.messages, [])
        self.assertFalse((self.agent.root / "ran").exists())
        self.assertNotRegex(stream.details(), "signature|audience|expired")
        return status

    def test_without_a_token_nobody_is_let_in(self):
        for way in WAYS:
            with self.subTest(way):
                self.assertEqual(self.refused(channel=self.connect(way), token=None), UNAUTHENTICATED)

    def test_tokens_that_are_none(self):
        foreign = [jwt("owner", audience="others"), jwt("owner", secret="x" * 40), jwt("owner", ttl=-3600)]
        for token in ["wrong", "a.b.c", *foreign]:
            self.assertEqual(self.refused(token=token), UNAUTHENTICATED, token)
        for name, value in [("authorization", f"Basic {TOKEN}"), ("authorization", "Bearer"), ("volt-token", TOKEN), ("token", TOKEN)]:
            self.assertEqual(self.refused(token=None, metadata=[(name, value)]), UNAUTHENTICATED, (name, value))

    def test_a_token_without_a_scheme_is_understood(self):
        self.assert_works(token=None, metadata=[("authorization", TOKEN)])

    def test_roles(self):
        self.assertEqual(self.refused(token=jwt("viewer")), PERMISSION_DENIED)
        for role in ("editor", "owner"):
            self.assert_works(token=jwt(role))

    def test_a_viewer_has_no_terminal_either(self):
        call = self.terminal(jwt("viewer"), [volt.CommandStreamRequest(control=volt.Control(command="id"))])
        with self.assertRaises(grpc.RpcError) as raised:
            next(call)
        self.assertEqual(raised.exception.code(), PERMISSION_DENIED)

    def terminal(self, token, requests):
        method = self.channel.stream_stream(
            f"/{TERMINAL}/CommandStream", volt.CommandStreamRequest.SerializeToString, volt.CommandStreamResponse.FromString
        )
        return method(iter(requests), metadata=[("authorization", f"Bearer {token}")])

    def test_a_terminal_by_an_editors_token(self):
        control = volt.Control(command="stty", arg=["size"], terminal_size=volt.TerminalSize(rows=40, cols=120))
        answers = list(self.terminal(jwt("editor"), [volt.CommandStreamRequest(control=control)]))
        self.assertEqual(b"".join(answer.data for answer in answers), b"40 120\r\n")
        self.assertFalse(any(answer.HasField("status") for answer in answers))

    def test_a_call_ends_with_its_token(self):
        stream = self.stream(token=jwt("editor", ttl=2)).sh("echo $$; exec sleep 1000")
        pid = int(stream.see("\n"))
        self.assertEqual(stream.over(), UNAUTHENTICATED)
        eventually(lambda: not alive(pid), "its program is ended")

    def test_what_is_not_there(self):
        for path in ("/exec_service.ExecService/Other", "/no.Such/Method", "/exec_service.ExecService/execstream"):
            with self.assertRaises(grpc.RpcError) as raised:
                self.channel.unary_unary(path)(b"", metadata=OWNER)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED, path)
        self.assert_works()

    def test_what_is_compressed_is_said_to_be_not_understood(self):
        method = self.channel.stream_stream(METHOD, pb.ExecMessage.SerializeToString, pb.ExecMessage.FromString)
        start = pb.ExecMessage(start_request=pb.ExecStartRequest(command=["echo", "x" * 10_000]))
        call = method(iter([start]), compression=grpc.Compression.Gzip, metadata=OWNER)
        with self.assertRaises(grpc.RpcError) as raised:
            list(call)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assert_works()

    def test_health(self):
        for way in WAYS:
            stub = health_pb2_grpc.HealthStub(self.connect(way))
            for service in ("", EXEC, TERMINAL, HEALTH):
                self.assertEqual(stub.Check(health_pb2.HealthCheckRequest(service=service)).status, SERVING, service)
            with self.assertRaises(grpc.RpcError) as raised:
                stub.Check(health_pb2.HealthCheckRequest(service="no.Such"))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=EXEC))
        self.assertEqual(next(watch).status, SERVING)
        watch.cancel()

    def test_reflection_v1alpha(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        services = set(database.get_services())
        self.assertLessEqual({EXEC, TERMINAL, HEALTH}, services)
        pool = DescriptorPool(database)
        method = pool.FindServiceByName(EXEC).FindMethodByName("ExecStream")
        self.assertTrue(method.client_streaming and method.server_streaming)
        fields = {field.name: field.number for field in method.input_type.fields}
        self.assertEqual(fields, {field.name: field.number for field in pb.ExecMessage.DESCRIPTOR.fields})
        control = pool.FindServiceByName(TERMINAL).FindMethodByName("CommandStream").input_type.fields_by_name["control"]
        self.assertEqual({field.name: field.number for field in control.message_type.fields}["interrupt"], 8)

    def test_reflection_v1(self):
        # Only the name of the service is another than in v1alpha.
        method = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=EXEC),
            reflection_pb2.ServerReflectionRequest(file_by_filename="tdx/volt_api/volt/v1/terminal_api.proto"),
        ]
        services, exec_file, terminal_file = method(iter(asked))
        names = {service.name for service in services.list_services_response.service}
        self.assertLessEqual({EXEC, TERMINAL, HEALTH}, names)
        for answer in (exec_file, terminal_file):
            self.assertTrue(answer.file_descriptor_response.file_descriptor_proto)
        with self.assertRaises(grpc.RpcError) as raised:
            list(method(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such")])))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_strangers_do_not_send_much(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        with self.assertRaises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="x" * (1 << 20)))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assert_works()

    def test_pings_every_second_are_welcome(self):
        line = Line(self.agent.port, watch=True)
        self.addCleanup(line.close)
        often = [
            ("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 5000),
            ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
        ]
        channel = self.connect(port=line.port, options=often)
        stream = self.stream(channel).start("cat")
        stream.started()
        eventually(lambda: line.sent.counts.get(PING, 0) >= 4, "pings of a quiet call")
        stream.type("awake")
        stream.see("awake")
        stream.half_close()
        stream.over()
        before = line.sent.counts[PING]
        eventually(lambda: line.sent.counts[PING] >= before + 4, "pings without a call")
        self.assert_works(channel)
        self.assertEqual(line.told.counts.get(GOAWAY, 0), 0)
        self.assertEqual(line.cuts, 0)


class Trusted(Case):
    args = ("--trust-local",)

    def test_on_the_socket_whoever_is_the_same_user_needs_no_token(self):
        self.assert_works(self.connect("unix"), token=None)
        stream = self.stream(token=None).start("true")
        self.assertEqual(stream.over(), UNAUTHENTICATED, "elsewhere he does")

    def test_a_wrong_token_is_none_there(self):
        stream = self.stream(self.connect("unix"), token="wrong").start("true")
        self.assertEqual(stream.over(), UNAUTHENTICATED)


if __name__ == "__main__":
    unittest.main()
