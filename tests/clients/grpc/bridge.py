"""A stand-in for openYuanrong's frontend, which is the client that its published SDK needs in front of ExecService.

The frontend itself cannot be built here. This does what was read in its `pkg/frontend/webui/webterm.go`: a WebSocket at
`/terminal/ws` for each session, with the protocol `sandbox.pty.v1`.
"""

import json
import queue
import threading
import urllib.parse
import uuid

import grpc
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

import exec_service_pb2 as pb
from support import METHOD

# How long the size of the client's terminal is waited for before its program is started.
FIRST_SIZE = 1

# Instances that there are, and their containers.
INSTANCES = {"instance-1": "sbox-1"}

PROTOCOL = "sandbox.pty.v1"
NORMAL, INTERNAL_ERROR = 1000, 1011
EVENTS = {pb.ExecStatusResponse.STARTED: "started", pb.ExecStatusResponse.EXITED: "exited", pb.ExecStatusResponse.ERROR: "error"}


class Bridge:
    def __init__(self, channel, token):
        self.method = channel.stream_stream(METHOD, pb.ExecMessage.SerializeToString, pb.ExecMessage.FromString)
        # The real one shows none, as its network is its own.
        self.metadata = [("authorization", f"Bearer {token}")]
        self.calls = []
        self.server = serve(self.session, "127.0.0.1", 0, process_request=self.known, max_size=None)
        self.address = "127.0.0.1:%d" % self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()

    def known(self, client, request):
        instance = query(request).get("instance", [""])[0]
        return None if instance in INSTANCES else client.respond(502, "no such instance\n")

    def session(self, client):
        asked = query(client.request)
        one = lambda name, usual: asked.get(name, [usual])[0]
        command = asked.get("command", ["/bin/bash"])
        tty = one("tty", "true") != "false"
        requests = queue.SimpleQueue()
        # The call is there before anything is said on it.
        call = self.method(iter(requests.get, None), metadata=self.metadata)
        self.calls.append(call)
        try:
            rows, cols, early = int(one("rows", "24")), int(one("cols", "80")), []
            if tty:
                rows, cols, early = self.first_size(client, rows, cols)
            start = pb.ExecStartRequest(
                container_id=INSTANCES[one("instance", "")], instance_id=one("instance", ""), tty=tty, rows=rows, cols=cols,
                command=command[0].split() if len(command) == 1 else command,
            )
            session = str(uuid.uuid4())
            requests.put(pb.ExecMessage(session_id=session, start_request=start))
            for frame in early:
                requests.put(said(frame))
            threading.Thread(target=self.answer, args=(client, call, session), daemon=True).start()
            for frame in client:
                requests.put(said(frame))
        except ConnectionClosed:
            pass
        finally:
            call.cancel()
            requests.put(None)

    def first_size(self, client, rows, cols):
        """The size that a client says first, and what else it said before."""
        try:
            frame = client.recv(timeout=FIRST_SIZE)
        except TimeoutError:
            return rows, cols, []
        if isinstance(frame, str) and frame.startswith("RESIZE:"):
            cols, rows = map(int, frame.split(":")[1:])
            return rows, cols, []
        return rows, cols, [frame]

    def answer(self, client, call, session):
        ended = False
        try:
            for message in call:
                if message.WhichOneof("payload") == "output_data":
                    client.send(message.output_data.data)
                elif message.status.status in EVENTS:
                    client.send(event(message.status, message.session_id or session))
                    if message.status.status != pb.ExecStatusResponse.STARTED:
                        ended = True
                        break
        except (grpc.RpcError, ConnectionClosed):
            pass
        try:
            if not ended:
                text = "exec stream closed before terminal status"
                client.send(event(pb.ExecStatusResponse(status=pb.ExecStatusResponse.ERROR, error_message=text), session))
            client.close(NORMAL if ended else INTERNAL_ERROR)
        except ConnectionClosed:
            pass


def query(request):
    return urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)


def said(frame):
    if isinstance(frame, str) and frame.startswith("RESIZE:"):
        cols, rows = map(int, frame.split(":")[1:])
        return pb.ExecMessage(resize=pb.ExecResizeRequest(rows=rows, cols=cols))
    if frame == "STDIN_EOF":
        return pb.ExecMessage(stdin_eof=pb.ExecStdinEof())
    data = frame.encode() if isinstance(frame, str) else frame
    return pb.ExecMessage(input_data=pb.ExecInputData(data=data))


def event(status, session):
    told = {"version": 1, "type": EVENTS[status.status], "session_id": session}
    return json.dumps({**told, "exit_code": status.exit_code, "message": status.error_message})
