"""What all the tests stand on: the agent as a process of its own, Modal's SDK pointed at it, and the SDK's own client
of the command router for what its upper level cannot do.

PID1_BIN is the program under test; without it the debug build of this repository. Every wait is for a condition and
has a deadline; a test that hangs all the same is ended by an alarm.
"""

import asyncio
import base64
import concurrent.futures
import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

import grpclib.events
import modal
from grpclib import GRPCError, Status
from modal._utils.async_utils import synchronizer
from modal_proto import api_pb2, task_command_router_pb2 as pb

import control_plane

# How long a condition may take: ten times and more what it needs on a slow machine. And a whole test.
DEADLINE = 20
ALARM = 120 if os.environ.get("PID1_LONG") == "1" else 60

BINARY = os.environ.get("PID1_BIN") or str(pathlib.Path(__file__).resolve().parents[3] / "target/debug/pid1")
TOKEN = "a-token-of-these-tests"
SECRET = "a shared secret of thirty-two bytes or more"
AUDIENCE = "tests"
SANDBOX = "sb-0000000000000000000000"
TASK = SANDBOX.replace("sb", "ta")

# The version whose descriptors are the service's first ones has none of what came later.
NEW = hasattr(pb, "TaskExecStdinStatusRequest")
new_only = unittest.skipUnless(NEW, "this version of the SDK does not have it")

PIPE = {"stdout_config": pb.TASK_EXEC_STDOUT_CONFIG_PIPE, "stderr_config": pb.TASK_EXEC_STDERR_CONFIG_PIPE}
OUT, ERR = api_pb2.FILE_DESCRIPTOR_STDOUT, api_pb2.FILE_DESCRIPTOR_STDERR

KIB, MIB = 1 << 10, 1 << 20


# Otherwise each write into a connection that was cut is a line in the log, and each certificate that was not looked at.
logging.getLogger("asyncio").setLevel(logging.ERROR)
logging.getLogger("modal-client").setLevel(logging.ERROR)


def eventually(condition, what, deadline=DEADLINE):
    """Looks again and again until `condition` gives something, and gives that."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{deadline} s have passed without: {what}")
        time.sleep(0.01)


class Agent:
    """A running agent with a workspace, a home, a state folder and a file of secrets of its own."""

    def __init__(self, *args, env=None):
        self.args, self.env = args, env or {}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pid1-modal-")).resolve()
        self.root, self.home, self.state = (self.folder / name for name in ("root", "home", "state"))
        for folder in (self.root, self.home, self.state):
            folder.mkdir()
        self.secrets = self.folder / "secrets.toml"
        self.secrets.touch()
        self.port = 0
        self.process = None
        self.start()

    def start(self):
        """Starts it; the second time where it was."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.home), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        command = [
            BINARY, "--root", self.root, "--state-dir", self.state, "--listen", f"127.0.0.1:{self.port}",
            "--stop-grace", "1", "--tls-self-signed", "--secrets", self.secrets, *self.args,
        ]
        with open(self.folder / "log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, env={**own, "PID1_TOKEN": TOKEN, **self.env},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        # The line is written when it serves; an agent that ends at once writes none.
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            said = self.said()
            self.discard()
            raise AssertionError(f"the agent ended at once: {said}")
        self.port = int(self.url.split("#")[0].rstrip("/").rsplit(":", 1)[1])

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def assert_well(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the agent died with {self.process.returncode}: {self.said()}")
        if "panicked" in self.said():
            raise AssertionError(self.said())

    def stop(self):
        """Ends it, in good order, and takes its folders away. A dead or panicked agent fails here."""
        try:
            self.assert_well()
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(DEADLINE)
            if status != 0:
                raise AssertionError(f"it ended with {status}: {self.said()}")
        finally:
            self.discard()

    def discard(self):
        """Takes away what is left of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def loop():
    """The loop that the SDK's own objects live on."""
    return synchronizer._get_loop(start=True)


def on_loop(coroutine, deadline=DEADLINE):
    """Runs it there."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop())
    try:
        return future.result(deadline)
    except concurrent.futures.TimeoutError:
        if future.done():
            raise  # its own
        future.cancel()
        raise AssertionError(f"{deadline} s have passed without an answer") from None


class Router:
    """The SDK's own client of the command router, as a sandbox has it, and what it was seen to send."""

    def __init__(self, sandbox, watch=False):
        inner = synchronizer._translate_in(sandbox)

        async def connect():
            client = await inner._get_command_router_client(TASK)
            if watch:
                # Watching costs; but on its own connection nobody else is seen.
                grpclib.events.listen(client._channel, grpclib.events.SendMessage, self._sees)
            return client

        self.sent = []
        self.client = on_loop(connect())

    async def _sees(self, event):
        self.sent.append(event.message)

    def offsets(self, kind, **fields):
        """The offsets of the requests of that kind which were sent, again and again."""
        return [
            message.offset for message in self.sent
            if isinstance(message, kind) and all(getattr(message, name) == value for name, value in fields.items())
        ]

    def start(self, *command, exec_id=None, task_id=TASK, **fields):
        """Starts a command, and gives its id."""
        exec_id = exec_id or str(uuid.uuid4())
        request = pb.TaskExecStartRequest(task_id=task_id, exec_id=exec_id, command_args=command, **{**PIPE, **fields})
        on_loop(self.client.exec_start(request))
        return exec_id

    def wait(self, exec_id, deadline=DEADLINE, task_id=TASK):
        """Its exit status as a shell has it; both ways to say it are told apart by `status`."""
        return shell_status(self.status(exec_id, deadline, task_id))

    def status(self, exec_id, deadline=DEADLINE, task_id=TASK):
        return on_loop(self.client.exec_wait(task_id, exec_id), deadline)

    def poll(self, exec_id, task_id=TASK):
        return on_loop(self.client.exec_poll(task_id, exec_id))

    def write(self, exec_id, offset, data=b"", eof=False, task_id=TASK, deadline=DEADLINE):
        return on_loop(self.client.exec_stdin_write(task_id, exec_id, offset, data, eof), deadline)

    def read(self, exec_id, descriptor=OUT, deadline=DEADLINE, task_id=TASK):
        """All of a stream to its end, with the SDK's own way to go on after a cut."""
        async def all_of_it():
            stream = self.client.exec_stdio_read(task_id, exec_id, descriptor)
            return b"".join([item.data async for item in stream])
        return on_loop(all_of_it(), deadline)

    def read_at(self, exec_id, offset, descriptor=pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT, count=None, task_id=TASK):
        """A stream from an offset, once, to its end or until there are `count` bytes; a list of what came."""
        request = pb.TaskExecStdioReadRequest(
            task_id=task_id, exec_id=exec_id, offset=offset, file_descriptor=descriptor,
        )

        async def pieces():
            found = []
            async with self.client._stub.TaskExecStdioRead.open(metadata=self.client._get_metadata()) as stream:
                await stream.send_message(request, end=True)
                async for item in stream:
                    found.append(item.data)
                    if count is not None and sum(map(len, found)) >= count:
                        await stream.cancel()
                        break
            return found
        return on_loop(pieces())

    def raw(self, method, request, metadata=None, deadline=DEADLINE):
        """One call, without the SDK's second attempts. GRPCError tells what was answered."""
        call = getattr(self.client._stub, method)
        return on_loop(call(request, metadata=self.client._get_metadata() if metadata is None else metadata), deadline)

    def stdin_status(self, exec_id):
        return on_loop(self.client.exec_stdin_status(TASK, exec_id))

    def close(self):
        """Closes the connection, without a word about what runs on it."""
        on_loop(self.client.close())


def process_id(process):
    """The exec_id that the SDK made."""
    inner = synchronizer._translate_in(process)
    return getattr(inner, "_impl", inner)._process_id


def shell_status(answer):
    return {"code": answer.code, "signal": 128 + answer.signal, None: None}[answer.WhichOneof("exit_status")]


class Case(unittest.TestCase):
    """Tests that share an agent, started with `args`, and a sandbox that is this agent."""

    args = ()
    env = None

    @classmethod
    def setUpClass(cls):
        cls.agent = Agent(*cls.args, env=cls.env)
        cls.addClassCleanup(cls.agent.stop)
        cls.sandbox = cls.enterClassContext(connected(cls.agent))
        cls.router = Router(cls.sandbox)

    def setUp(self):
        signal.signal(signal.SIGALRM, hangs)
        signal.alarm(ALARM)
        self.addCleanup(signal.alarm, 0)

    def connect(self, watch=False, **options):
        """A connection of its own, and the SDK's client on it."""
        sandbox = self.enterContext(connected(self.agent, **options))
        return sandbox, Router(sandbox, watch=watch)

    def sh(self, script, *args, sandbox=None, **options):
        return (sandbox or self.sandbox).exec("sh", "-c", script, *args, **options)

    def fifo(self):
        """A pipe with a name: who reads from it waits until a test writes into it."""
        path = self.agent.root / f"fifo-{next(_marks)}"
        os.mkfifo(path)
        return path

    @contextlib.contextmanager
    def within(self, seconds):
        """What stands in here is done in that time."""
        began = time.monotonic()
        yield
        self.assertLess(time.monotonic() - began, seconds)

    @contextlib.contextmanager
    def refused(self, *statuses):
        """What stands in here is answered with one of these codes, and a sentence; which is what this gives."""
        told = []
        with self.assertRaises(GRPCError) as raised:
            yield told
        self.assertIn(raised.exception.status, statuses, raised.exception)
        self.assertGreater(len(raised.exception.message or ""), 8, "a sentence says why")
        told.append(raised.exception.message)


if not hasattr(unittest.TestCase, "enterContext"):
    # As Python has it since 3.11.
    def enter(add, context):
        entered = context.__enter__()
        add(context.__exit__, None, None, None)
        return entered

    unittest.TestCase.enterContext = lambda self, context: enter(self.addCleanup, context)
    unittest.TestCase.enterClassContext = classmethod(lambda cls, context: enter(cls.addClassCleanup, context))


def hangs(*_):
    raise AssertionError(f"this test hangs: it has taken {ALARM} s")


@contextlib.contextmanager
def connected(agent, token=TOKEN, port=None, sandbox_id=SANDBOX):
    """A sandbox that is this agent, over a control plane and a connection of its own."""
    # What this version of the SDK takes.
    scheme = "http" if NEW else "https"
    url = f"{scheme}://127.0.0.1:{port or agent.port}/#token={token}"
    with control_plane.run(url, str(agent.secrets)):
        client = modal.Client.from_credentials("ak-tests", "as-tests")
        try:
            yield modal.Sandbox.from_id(sandbox_id, client=client)
        finally:
            client.__exit__(None, None, None)


def in_threads(function, arguments, deadline=DEADLINE):
    """Calls it with each of the arguments, all at once; what they gave, in order. What one of them raises is raised."""
    results, failures = {}, []

    def work(number, argument):
        try:
            results[number] = function(argument)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(arguments)]
    end = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
        if thread.is_alive():
            raise AssertionError(f"{deadline} s have passed, and not all are done: {failures}")
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(threads))]


def jwt(role, ttl=3600, name=None):
    """A signed token, made here."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    now = int(time.time())
    claims = {"aud": AUDIENCE, "role": role, "iat": now, "exp": now + ttl, "name": name or role}
    signed = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    return (signed + b"." + encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def alive(pid):
    """Whether `pid` runs: a zombie does not."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def running(mark):
    """The pids of programs that have `mark` in their command lines."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return found


_marks = itertools.count(1)


def new_mark():
    """A word that no other program has in its command line."""
    return f"mark-{os.getpid()}-{next(_marks)}-of-a-test"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@functools.cache
def noise(size, seed=1):
    """Bytes without a pattern, always the same ones."""
    return hashlib.shake_128(str(seed).encode()).digest(size)
