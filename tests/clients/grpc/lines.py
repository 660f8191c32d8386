"""A TCP line to an agent that can be cut, and that sees the frames of HTTP/2 go by."""

import socket
import struct
import threading

PING = 6
GOAWAY = 7
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Frames:
    """Counts what goes one way, by type; acknowledgements of pings not."""

    def __init__(self, skip):
        self.skip = skip
        self.rest = b""
        self.counts = {}

    def feed(self, data):
        here = min(self.skip, len(data))
        self.skip -= here
        self.rest += data[here:]
        while len(self.rest) >= 9:
            length = int.from_bytes(self.rest[:3], "big")
            kind, flags = self.rest[3], self.rest[4]
            if not (kind == PING and flags & 1):
                self.counts[kind] = self.counts.get(kind, 0) + 1
            here = min(len(self.rest), 9 + length)
            self.skip = 9 + length - here
            self.rest = self.rest[here:]


class Line:
    def __init__(self, port, watch=False):
        self.target = port
        self.watch = watch
        self.there = []
        self.sent, self.told = Frames(len(PREFACE)), Frames(0)
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        self.flows = threading.Event()
        self.flows.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            with self.lock:
                self.there += [client, server]
            for source, sink, frames in ((client, server, self.sent), (server, client, self.told)):
                threading.Thread(target=self._pump, args=(source, sink, frames), daemon=True).start()

    def _pump(self, source, sink, frames):
        try:
            while data := source.recv(256 << 10):
                self.flows.wait()
                if self.watch:
                    frames.feed(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self, hard=False):
        """Ends all connections, as a lost network does; `hard` by a reset."""
        with self.lock:
            there, self.there = self.there, []
        self.cuts += len(there) // 2
        for end in there:
            if hard:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def freeze(self):
        """From now on nothing passes, and nobody is told."""
        self.flows.clear()

    def close(self):
        self.listener.close()
        self.cut()
        self.flows.set()
