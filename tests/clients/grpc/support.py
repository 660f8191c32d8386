"""What all the tests stand on: the agent as a process of its own, and one call of its ExecService with all it heard.

PID1_BIN is the program under test; without it the debug build of this repository. Every wait is for a condition and
has a deadline.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

import exec_service_pb2 as pb

# How long a condition may take: ten times and more what it needs on a slow machine.
DEADLINE = 20

BINARY = os.environ.get("PID1_BIN") or str(pathlib.Path(__file__).resolve().parents[3] / "target/debug/pid1")
TOKEN = "a-token-of-these-tests"
OWNER = [("authorization", f"Bearer {TOKEN}")]
SECRET = "a shared secret of thirty-two bytes or more"
AUDIENCE = "tests"

STARTED, EXITED, ERROR = (pb.ExecStatusResponse.STARTED, pb.ExecStatusResponse.EXITED, pb.ExecStatusResponse.ERROR)
STDOUT, STDERR = pb.ExecOutputData.STDOUT, pb.ExecOutputData.STDERR

METHOD = "/exec_service.ExecService/ExecStream"

WAYS = ("h2c", "tls", "unix")

MIB = 1 << 20


def eventually(condition, what, deadline=DEADLINE):
    """Looks again and again until `condition` gives something, and gives that: for what tells nobody when it changes."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{deadline} s have passed without: {what}")
        time.sleep(0.01)


class News:
    """A condition variable that says what it waited for."""

    def __init__(self):
        self.changed = threading.Condition()

    def until(self, condition, what, deadline=DEADLINE):
        with self.changed:
            if not self.changed.wait_for(condition, deadline):
                raise AssertionError(f"{deadline} s have passed without: {what}; {self.last()}")
            return condition()

    def last(self):
        return ""


class Agent:
    """A running agent with a workspace, a home and a state folder of its own."""

    def __init__(self, *args, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pid1-grpc-")).resolve()
        self.root, self.home, self.state = (self.folder / name for name in ("root", "home", "state"))
        for folder in (self.root, self.home, self.state):
            folder.mkdir()
        (self.home / ".bashrc").write_text("PS1='$ '\nunset PROMPT_COMMAND HISTFILE\n")
        (self.home / ".inputrc").write_text("set enable-bracketed-paste off\nset bell-style none\n")
        folders = ["--root", self.root, "--state-dir", self.state, "--listen", "127.0.0.1:0", "--stop-grace", "1"]
        own = {"PATH": os.environ["PATH"], "HOME": str(self.home), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        self.log = open(self.folder / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [BINARY, *folders, *args],
            env={**own, "PID1_TOKEN": TOKEN, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        # The line is written when it serves; an agent that ends at once writes none.
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            said = self.said()
            self.discard()
            raise AssertionError(f"the agent ended at once: {said}")
        self.port = int(self.url.split("#")[0].rstrip("/").rsplit(":", 1)[1])
        self.socket = self.state / "socket"

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def channel(self, way="h2c", port=None, options=()):
        """A connection; over TLS its own certificate is trusted."""
        # Otherwise two channels of one process to one address are one connection.
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        address = f"127.0.0.1:{port or self.port}"
        if way == "unix":
            # This client would call the server by the socket's path, which is no name that HTTP/2 knows of.
            return grpc.insecure_channel(f"unix:{self.socket}", [("grpc.default_authority", "localhost"), *options])
        if way == "tls":
            trusted = grpc.ssl_channel_credentials((self.state / "tls-cert.pem").read_bytes())
            return grpc.secure_channel(f"localhost:{port or self.port}", trusted, options)
        return grpc.insecure_channel(address, options)

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
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def encode(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


class Stream(News):
    """One call of ExecStream, over all the sessions on it."""

    def __init__(self, channel, token=TOKEN, metadata=(), timeout=None):
        super().__init__()
        self.messages = []
        self.stdout, self.stderr = bytearray(), bytearray()
        self.status = None
        self._requests = queue.SimpleQueue()
        shown = [("authorization", f"Bearer {token}")] if token else []
        # Not the stub's, which sends nothing but whole messages of the contract.
        method = channel.stream_stream(METHOD, encode, pb.ExecMessage.FromString)
        self.call = method(iter(self._requests.get, None), timeout=timeout, metadata=[*shown, *metadata])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        status = grpc.StatusCode.OK
        try:
            for message in self.call:
                with self.changed:
                    self.messages.append(message)
                    if message.WhichOneof("payload") == "output_data":
                        output = message.output_data
                        (self.stderr if output.stream_type == STDERR else self.stdout).extend(output.data)
                    self.changed.notify_all()
        except grpc.RpcError as error:
            status = error.code()
        except ValueError:
            status = grpc.StatusCode.CANCELLED  # the channel was closed below it
        with self.changed:
            self.status = status
            self.changed.notify_all()

    def last(self):
        shown = [str(message)[:300] for message in self.messages[-4:]]
        return f"{len(self.messages)} messages, the last {shown}, status {self.status}, {self.details()}"

    def details(self):
        return self.call.details() if self.status not in (None, grpc.StatusCode.OK) else ""

    # What a client says.

    def send(self, **fields):
        self._requests.put(pb.ExecMessage(**fields))

    def send_bytes(self, data):
        self._requests.put(data)

    def start(self, *command, session_id="", **fields):
        self.send(session_id=session_id, start_request=pb.ExecStartRequest(command=command, **fields))
        return self

    def sh(self, script, **fields):
        return self.start("sh", "-c", script, **fields)

    def type(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.send(input_data=pb.ExecInputData(data=data))

    def eof(self):
        self.send(stdin_eof=pb.ExecStdinEof())

    def resize(self, rows, cols):
        self.send(resize=pb.ExecResizeRequest(rows=rows, cols=cols))

    def half_close(self):
        self._requests.put(None)

    def cancel(self):
        self.call.cancel()
        self.half_close()  # ends the thread that waits for more to send

    # What it hears.

    def statuses(self):
        return [message for message in self.messages if message.WhichOneof("payload") == "status"]

    def kinds(self):
        """The order of what was told, in which any number of pieces of output is one."""
        names = {STARTED: "started", EXITED: "exited", ERROR: "error"}
        kinds = [
            names[message.status.status] if message.WhichOneof("payload") == "status"
            else "stderr" if message.output_data.stream_type == STDERR else "stdout"
            for message in self.messages
        ]
        return [kind for kind, _ in itertools.groupby(kinds)]

    def _told(self, status, count):
        told = [message for message in self.statuses() if message.status.status == status]
        if len(told) >= count:
            return told[count - 1]
        if self.status is not None:
            raise AssertionError(f"the call is over: {self.last()}")
        return None

    def started(self, count=1):
        """The session_id of start number `count`."""
        return self.until(lambda: self._told(STARTED, count), f"STARTED number {count}").session_id

    def exited(self, count=1, deadline=DEADLINE):
        """The exit code of end number `count`."""
        return self.until(lambda: self._told(EXITED, count), f"EXITED number {count}", deadline).status.exit_code

    def error(self, count=1):
        """The text of ERROR number `count`."""
        return self.until(lambda: self._told(ERROR, count), f"ERROR number {count}").status.error_message

    def see(self, wanted, deadline=DEADLINE):
        """Waits until stdout has `wanted`, and gives all of it as text."""
        def shown():
            if wanted.encode() in self.stdout:
                return True
            if self.status is not None:
                raise AssertionError(f"the call is over: {self.last()}")
            return False
        self.until(shown, f"output with {wanted!r}", deadline)
        return self.text()

    def text(self):
        return self.stdout.decode(errors="replace")

    def over(self, deadline=DEADLINE):
        """The status of the call, when it is over."""
        return self.until(lambda: self.status, "the end of the call", deadline)


class Case(unittest.TestCase):
    """Tests that share an agent, started with `args`, and a connection to it."""

    args = ()
    env = None

    @classmethod
    def setUpClass(cls):
        cls.agent = Agent(*cls.args, env=cls.env)
        cls.addClassCleanup(cls.agent.stop)
        cls.channel = cls.agent.channel()
        cls.addClassCleanup(cls.channel.close)

    def stream(self, channel=None, **options):
        stream = Stream(channel or self.channel, **options)
        self.addCleanup(stream.cancel)
        return stream

    def connect(self, way="h2c", **options):
        channel = self.agent.channel(way, **options)
        self.addCleanup(channel.close)
        return channel

    def assert_works(self, channel=None, **options):
        """A session from beginning to end."""
        stream = self.stream(channel, **options).sh("read line; echo got $line; exit 7")
        stream.type("this\n")
        self.assertEqual(stream.exited(), 7)
        self.assertEqual(stream.text(), "got this\n")


def jwt(role, ttl=3600, audience=AUDIENCE, secret=SECRET):
    """A signed token, made here."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    now = int(time.time())
    claims = {"aud": audience, "role": role, "iat": now, "exp": now + ttl, "name": role}
    signed = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + encode(signature)).decode()


def alive(pid):
    """Whether `pid` runs: a zombie does not."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def running(mark):
    """The command lines of programs that have `mark` in them."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if mark in line:
            found.append(line)
    return found


_marks = itertools.count(1)


def new_mark():
    """A word that no other program has in its command line."""
    return f"mark-{os.getpid()}-{next(_marks)}-of-a-test"


def sha256(data):
    return hashlib.sha256(data).hexdigest()
