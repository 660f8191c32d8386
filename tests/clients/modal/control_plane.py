"""Points Modal's SDKs at an agent: the few calls of Modal's control plane that come before the first `exec`.

    import control_plane, modal

    with control_plane.run("http://127.0.0.1:4560/#token=p7q3k…"):
        sandbox = modal.Sandbox.from_id("sb-0000000000000000000000")
        print(sandbox.exec("uname", "-a").stdout.read())

or for the JavaScript SDK, and for programs of their own, until it is told to end:

    python control_plane.py [--secrets FILE] 'http://127.0.0.1:4560/#token=p7q3k…'

which prints the MODAL_SERVER_URL to use; MODAL_TOKEN_ID and MODAL_TOKEN_SECRET may be anything.

Any sandbox is this agent, and always runs. It listens on this machine only, and gives the agent's token to whoever asks
there. It needs the package `modal` and nothing else. The SDK keeps the first connection that it makes, so one process
has one control plane.

- Python's SDK takes an agent's http:// URL from version 1.5 on. Older ones want https://: an agent with
  `--tls-self-signed` will do. JavaScript's and Go's want https:// and then speak cleartext, so they are told https://
  whatever the URL is.
- Secrets made in the program (`Secret.from_dict`, and in old versions `exec(env=...)`) are written into the file that
  the agent was told by `--secrets`, each a table of its own. A secret that has a name is the table `st-NAME` there.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
import urllib.parse

from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

# CLIENT_TYPE_LIBMODAL, and the same of JavaScript and of Go.
SPEAK_CLEARTEXT = {"7", "8", "9"}


class Answers:
    """What is answered, by the names of the calls: a request and its metadata in, a response out."""

    def __init__(self, agent_url, secrets_file):
        parts = urllib.parse.urlsplit(agent_url)
        tokens = [part.removeprefix("token=") for part in parts.fragment.split("&") if part.startswith("token=")]
        # The SDKs cannot read addresses of IPv6.
        if parts.scheme not in ("http", "https") or not parts.hostname or ":" in parts.hostname or not any(tokens):
            raise ValueError("an agent's URL is http://HOST:PORT/#token=TOKEN, or the same with https")
        self.scheme, self.address, self.token = parts.scheme, parts.netloc, urllib.parse.unquote(tokens[0])
        self.secrets_file = secrets_file

    async def ClientHello(self, request, metadata):
        return api_pb2.ClientHelloResponse()

    async def AuthTokenGet(self, request, metadata):
        """A token for the control plane itself, which nobody looks at here; the SDKs want to know when it ends."""
        claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 24 * 3600}).encode())
        return api_pb2.AuthTokenGetResponse(token=f"e30.{claims.rstrip(b'=').decode()}.e30")

    async def SandboxWait(self, request, metadata):
        """No result: it still runs."""
        await asyncio.sleep(request.timeout)
        return api_pb2.SandboxWaitResponse()

    async def SandboxGetTaskId(self, request, metadata):
        return api_pb2.SandboxGetTaskIdResponse(task_id=request.sandbox_id.replace("sb-", "ta-", 1))

    async def TaskGetCommandRouterAccess(self, request, metadata):
        return api_pb2.TaskGetCommandRouterAccessResponse(url=self.url(metadata), jwt=self.token)

    async def SandboxGetCommandRouterAccess(self, request, metadata):
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=self.url(metadata), jwt=self.token)

    async def SecretGetOrCreate(self, request, metadata):
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            return self.secret(f"st-{request.deployment_name}", request.deployment_name)
        if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL:
            raise GRPCError(Status.UNIMPLEMENTED, "SecretGetOrCreate keeps no names here: write into the agent's file")
        if self.secrets_file is None:
            raise GRPCError(Status.FAILED_PRECONDITION, "nobody said from which file the agent reads its secrets")
        secret_id = f"st-{secrets.token_hex(11)}"
        # No await here, so that of two that are made at once none is lost; and the agent never sees half a file.
        lines = [f"[{text(secret_id)}]", *(f"{text(name)} = {text(value)}" for name, value in request.env_dict.items())]
        with contextlib.suppress(FileNotFoundError), open(self.secrets_file, encoding="utf-8") as file:
            lines.insert(0, file.read())
        new = f"{self.secrets_file}.{secret_id}"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(new, self.secrets_file)
        return self.secret(secret_id)

    # Sandboxes whose ids are no 22 letters and digits are asked for by other names.
    SandboxWaitV2 = SandboxWait
    SandboxGetTaskIdV2 = SandboxGetTaskId

    def url(self, metadata):
        scheme = "https" if metadata.get("x-modal-client-type") in SPEAK_CLEARTEXT else self.scheme
        return f"{scheme}://{self.address}"

    def secret(self, secret_id, name=""):
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id, metadata=api_pb2.SecretMetadata(name=name))


def text(string):
    """A string as TOML has it."""
    return json.dumps(string, ensure_ascii=False).replace("\x7f", "\\u007f")


def service(answers):
    """The whole of the control plane, as the SDK's own generated code has it."""
    def call(name):
        async def served(self, stream):
            request = await stream.recv_message()
            if not hasattr(answers, name):
                raise GRPCError(Status.UNIMPLEMENTED, f"{name} is for Modal's control plane, and here is only an agent")
            await stream.send_message(await getattr(answers, name)(request, stream.metadata))
        return served
    calls = {name: call(name) for name in ModalClientBase.__abstractmethods__}
    return type("ControlPlane", (ModalClientBase,), calls)()


@contextlib.contextmanager
def serve(agent_url, secrets_file=None):
    """Serves on a free port as long as the block runs, and gives the MODAL_SERVER_URL."""
    answers = Answers(agent_url, secrets_file)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control plane", daemon=True)
    listener = socket.create_server(("127.0.0.1", 0))

    async def begin():
        server = Server([service(answers)])
        await server.start(sock=listener)
        return server

    async def end(server):
        server.close()
        await server.wait_closed()

    def on_loop(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    thread.start()
    server = on_loop(begin())
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        on_loop(end(server))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def run(agent_url, secrets_file=None):
    """Serves as long as the block runs, and sets what the SDK reads in this process."""
    with serve(agent_url, secrets_file) as url:
        ours = {"MODAL_SERVER_URL": url, "MODAL_TOKEN_ID": "ak-none", "MODAL_TOKEN_SECRET": "as-none"}
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield url
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def main():
    parser = argparse.ArgumentParser(description="Points Modal's SDKs at an agent; prints the MODAL_SERVER_URL to use.")
    parser.add_argument("--secrets", metavar="FILE", help="the file that the agent was told by its own --secrets")
    parser.add_argument("agent_url", metavar="AGENT_URL", help="http://HOST:PORT/#token=TOKEN")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with serve(args.agent_url, args.secrets) as url:
            print(url, flush=True)
            signal.pause()
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
