"""A TCP line to an agent that can be cut, or cuts itself after so many bytes; it counts what has passed."""

import socket
import struct
import threading


class Line:
    def __init__(self, port):
        self.target = port
        self.there = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.cuts = 0
        # Bytes to the agent and from it, and the count of each at which the line breaks.
        self.passed = {"up": 0, "down": 0}
        self.breaks = {"up": None, "down": None}
        # Bytes to the agent after which nothing of what it answers arrives any more.
        self.deaf_at = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.there += [client, server]
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source, sink, way):
        try:
            while data := source.recv(64 << 10):
                with self.lock:
                    at = self.breaks[way]
                    broken = at is not None and self.passed[way] + len(data) >= at
                    if broken:
                        data = data[: max(0, at - self.passed[way])]
                        self.breaks[way] = None
                    if way == "down" and self.deaf_at is not None and self.passed["up"] >= self.deaf_at:
                        broken, data = True, b""
                        self.deaf_at = None
                    self.passed[way] += len(data)
                sink.sendall(data)
                if broken:
                    self.cut()
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def break_after(self, count, way):
        """Breaks the line when `count` more bytes have gone that way."""
        with self.lock:
            self.breaks[way] = self.passed[way] + count

    def break_answer(self, count):
        """Breaks the line when the agent answers, once `count` more bytes have gone to it."""
        with self.lock:
            self.deaf_at = self.passed["up"] + count

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

    def close(self):
        self.listener.close()
        self.cut()
