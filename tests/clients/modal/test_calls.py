"""What the calls promise beyond a command that runs: one id is one run, and what is wrong is said at once."""

import asyncio
import unittest
import uuid

from modal.exception import AuthError, InvalidError, NotFoundError, PermissionDeniedError, UnimplementedError
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from support import (
    AUDIENCE, DEADLINE, ERR, NEW, PIPE, SECRET, TASK, Case, Status, alive, in_threads, jwt, loop, on_loop, pb, shell_status,
)

NOBODY = "00000000-0000-4000-8000-000000000000"
OFFERED = {
    "TaskExecPoll", "TaskExecStart", "TaskExecStdinStatus", "TaskExecStdinWrite", "TaskExecStdinWriteStream",
    "TaskExecStdioRead", "TaskExecWait",
}


class Once(Case):
    def setUp(self):
        super().setUp()
        self.file = self.agent.root / f"runs-{self.id()}"
        self.exec_id = str(uuid.uuid4())

    def start(self, script="echo out; read line; exit 7", router=None, **fields):
        return (router or self.router).start(
            "sh", "-c", f"echo run >> $0; {script}", str(self.file), exec_id=self.exec_id, **fields,
        )

    def assert_one_run(self):
        self.assertEqual(self.file.read_text(), "run\n")

    def test_while_it_runs_and_when_it_has_ended(self):
        self.start()
        self.assertEqual(self.router.read_at(self.exec_id, 0, count=4), [b"out\n"])
        for _ in range(3):
            self.start()
        self.router.write(self.exec_id, 0, b"go\n")
        self.assertEqual(self.router.wait(self.exec_id), 7)
        for _ in range(3):
            self.start()
        self.assertEqual(self.router.wait(self.exec_id), 7)
        self.assertEqual(self.router.read(self.exec_id), b"out\n")
        self.assert_one_run()

    def test_all_at_once(self):
        # On connections of their own too.
        routers = [self.router] * 10 + [self.connect()[1] for _ in range(3)]
        started = in_threads(lambda router: self.start(router=router), routers)
        self.assertEqual(set(started), {self.exec_id})
        self.router.write(self.exec_id, 0, b"go\n")
        self.assertEqual(self.router.wait(self.exec_id), 7)
        self.assert_one_run()

    def test_a_start_is_over_when_it_is_answered(self):
        for _ in range(20):
            exec_id = self.router.start("sh", "-c", "exit 3")
            outcomes = in_threads(lambda call: call(exec_id), [
                self.router.wait, self.router.read, lambda exec_id: self.router.read(exec_id, ERR),
            ])
            self.assertEqual(outcomes, [3, b"", b""])

    def test_other_arguments_run_nothing_else(self):
        self.start("exit 7")
        try:
            self.start("exit 8")
        except InvalidError:
            pass  # or is told so; no SDK sends it
        self.assertEqual(self.router.wait(self.exec_id), 7)
        self.assert_one_run()

    def test_what_could_not_start_may_be_started_when_it_can(self):
        folder = self.agent.root / "later"
        with self.assertRaises((NotFoundError, InvalidError)):
            self.start("exit 3", workdir=str(folder))
        folder.mkdir()
        self.start("exit 3", workdir=str(folder))
        self.assertEqual(self.router.wait(self.exec_id), 3)
        self.assert_one_run()

    def test_a_start_that_is_broken_off_runs_once_or_not_at_all(self):
        call = self.router.client._stub.TaskExecStart
        request = pb.TaskExecStartRequest(
            task_id=TASK, exec_id=self.exec_id, command_args=["sh", "-c", "echo run >> $0", str(self.file)], **PIPE,
        )

        async def broken_off():
            metadata = self.router.client._get_metadata()
            attempts = [asyncio.ensure_future(call(request, metadata=metadata)) for _ in range(20)]
            await asyncio.sleep(0)
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        on_loop(broken_off())
        on_loop(self.router.client.exec_start(request))
        self.assertEqual(self.router.wait(self.exec_id), 0)
        self.assert_one_run()


class Wrong(Case):
    def test_who_is_not_known_is_said_at_once(self):
        requests = [
            lambda: self.router.wait(NOBODY),
            lambda: self.router.poll(NOBODY),
            lambda: self.router.read(NOBODY),
            lambda: self.router.read(NOBODY, ERR),
            lambda: self.router.write(NOBODY, 0, b"x"),
            lambda: self.router.write(NOBODY, 0, eof=True),
            lambda: self.router.wait("not even an id"),
            lambda: self.router.poll(""),
        ]
        for number, request in enumerate(requests):
            with self.subTest(number), self.within(2), self.assertRaises((NotFoundError, InvalidError)) as raised:
                request()
            if number < 6:
                self.assertIsInstance(raised.exception, NotFoundError)
                self.assertIn(NOBODY, str(raised.exception))

    def test_output_from_where_there_is_none(self):
        exec_id = self.router.start("sh", "-c", "echo hello; echo err >&2")
        self.assertEqual(self.router.wait(exec_id), 0)
        self.assertEqual(self.router.read(exec_id), b"hello\n")
        for offset, wanted in [(0, b"hello\n"), (2, b"llo\n"), (6, b"")]:
            self.assertEqual(b"".join(self.router.read_at(exec_id, offset)), wanted)
        for offset in (7, 1 << 40, (1 << 64) - 1):
            with self.refused(Status.OUT_OF_RANGE), self.within(2):
                self.router.read_at(exec_id, offset)

    def test_output_from_where_there_is_none_yet(self):
        exec_id = self.router.start("sh", "-c", "echo hello; read line; echo more")
        self.assertEqual(self.router.read_at(exec_id, 0, count=6), [b"hello\n"])
        with self.refused(Status.OUT_OF_RANGE), self.within(2):
            self.router.read_at(exec_id, 7)
        # At its very end it waits for what comes.
        reading = asyncio.run_coroutine_threadsafe(self.rest(exec_id, 6), loop())
        self.router.write(exec_id, 0, b"go\n")
        self.assertEqual(reading.result(DEADLINE), b"more\n")

    async def rest(self, exec_id, offset):
        client = self.router.client
        request = pb.TaskExecStdioReadRequest(task_id=TASK, exec_id=exec_id, offset=offset)
        async with client._stub.TaskExecStdioRead.open(metadata=client._get_metadata()) as stream:
            await stream.send_message(request, end=True)
            return b"".join([item.data async for item in stream])

    def test_a_stream_that_does_not_exist(self):
        exec_id = self.router.start("true")
        with self.refused(Status.INVALID_ARGUMENT), self.within(2):
            self.router.read_at(exec_id, 0, descriptor=7)

    def test_starts_that_make_no_sense(self):
        nonsense = [
            {"exec_id": ""}, {"exec_id": "x" * 100_000}, {"task_id": ""}, {"command_args": []}, {"command_args": [""]},
            {"command_args": ["echo", "a\0b"]}, {"command_args": ["echo", "x" * 200_000]}, {"workdir": "/a\0b"},
            {"stdout_config": 9}, {"stderr_config": 9},
        ]
        if NEW:
            nonsense += [{"env": {"A": "a\0b"}}, {"env": {"": "x"}}, {"env": {"A=B": "x"}}, {"container_id": "other"}]
        usual = {"task_id": TASK, "command_args": ["echo", "hello"], **PIPE}
        for fields in nonsense:
            request = pb.TaskExecStartRequest(**{**usual, "exec_id": str(uuid.uuid4()), **fields})
            with self.subTest(list(fields)), self.within(2):
                with self.refused(Status.INVALID_ARGUMENT, Status.NOT_FOUND, Status.UNIMPLEMENTED):
                    self.router.raw("TaskExecStart", request)
        self.assertEqual(self.router.read(self.router.start("echo", "hello")), b"hello\n")

    def test_what_is_not_offered_says_so(self):
        missing = [name for name in TaskCommandRouterBase.__abstractmethods__ if name not in OFFERED]
        self.assertGreaterEqual(len(missing), 2)
        for name in missing:
            method = getattr(self.router.client._stub, name)
            request = method.request_type(task_id=TASK)

            async def call():
                async with method.open(metadata=self.router.client._get_metadata()) as stream:
                    await stream.send_message(request, end=True)
                    await stream.recv_message()
            with self.subTest(name), self.within(2), self.refused(Status.UNIMPLEMENTED):
                on_loop(call())

    def test_users_of_what_is_not_offered_are_told_at_once(self):
        with self.within(2), self.assertRaises(UnimplementedError) as raised:
            self.sandbox.snapshot_directory("/tmp")
        self.assertGreater(len(str(raised.exception)), 8)


class Access(Case):
    args = ("--jwt-audience", AUDIENCE)
    env = {"PID1_JWT_SECRET": SECRET}

    def test_a_wrong_token(self):
        for token in ("wrong", "a.b.c", jwt("owner", ttl=-3600)):
            with self.subTest(token), self.within(5):
                sandbox, router = self.connect(token=token)
                with self.assertRaises(AuthError):
                    sandbox.exec("touch", str(self.agent.root / "ran"))
                with self.assertRaises(AuthError):
                    router.read(NOBODY)
                with self.assertRaises(AuthError):
                    router.wait(NOBODY)
                with self.assertRaises(AuthError):
                    router.write(NOBODY, 0, b"x")
        self.assertFalse((self.agent.root / "ran").exists())

    def test_no_token_at_all(self):
        with self.refused(Status.UNAUTHENTICATED):
            self.router.raw("TaskExecPoll", pb.TaskExecPollRequest(task_id=TASK, exec_id=NOBODY), metadata={})

    def test_a_signed_token(self):
        sandbox, _ = self.connect(token=jwt("editor"))
        self.assertEqual(sandbox.exec("echo", "hello").stdout.read(), "hello\n")

    def test_a_viewer_runs_nothing(self):
        _, router = self.connect(token=jwt("viewer"))
        with self.assertRaises(PermissionDeniedError), self.within(2):
            router.start("touch", str(self.agent.root / "viewed"))
        self.assertFalse((self.agent.root / "viewed").exists())

    def test_another_person_has_nothing_to_do_with_it(self):
        _, ada = self.connect(token=jwt("editor", name="ada"))
        _, bob = self.connect(token=jwt("editor", name="bob"))
        exec_id = ada.start("sh", "-c", "echo $$; read line; echo $line; exit 3")
        pid = int(b"".join(ada.read_at(exec_id, 0, count=2)))
        tries = [
            lambda: bob.read(exec_id), lambda: bob.write(exec_id, 0, b"evil\n"), lambda: bob.poll(exec_id),
            lambda: bob.wait(exec_id), lambda: bob.start("true", exec_id=exec_id),
        ]
        for number, attempt in enumerate(tries):
            with self.subTest(number), self.within(2), self.assertRaises((NotFoundError, PermissionDeniedError)):
                attempt()
        self.assertTrue(alive(pid))
        # The same person, and an owner, may.
        _, again = self.connect(token=jwt("editor", name="ada"))
        again.write(exec_id, 0, b"good\n")
        self.assertEqual(self.router.wait(exec_id), 3)
        self.assertEqual(self.router.read(exec_id), f"{pid}\ngood\n".encode())

    def test_a_token_that_ends_while_it_is_used(self):
        # The SDK asks for another one, gets the same, and gives up: nobody hangs.
        sandbox, router = self.connect(token=jwt("editor", ttl=2))
        exec_id = router.start("sh", "-c", "echo here; exec sleep 1000")
        self.assertEqual(router.read_at(exec_id, 0, count=5), [b"here\n"])
        with self.within(15), self.assertRaises(AuthError):
            router.read(exec_id)
        with self.within(5), self.assertRaises(AuthError):
            router.poll(exec_id)
        self.assertEqual(shell_status(self.router.poll(exec_id)), None, "the program goes on")


if __name__ == "__main__":
    unittest.main()
