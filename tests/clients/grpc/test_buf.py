"""`buf curl`: a client of another kind (Go), which learns the contract by reflection or reads the repository's proto/."""

import base64
import json
import pathlib
import subprocess
import threading
import unittest

from support import DEADLINE, TOKEN, WAYS, Case, News

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
EXEC = "exec_service.ExecService/ExecStream"
TERMINAL = "tdx.volt_api.volt.v1.TerminalAPI/CommandStream"
UNAUTHENTICATED = 16
NOT_FOUND = 5


class Curl(News):
    """One call; what is said and heard is JSON."""

    def __init__(self, *args):
        super().__init__()
        self.heard, self.shown = [], ""
        self.process = subprocess.Popen(
            ["buf", "curl", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest, decoder = "", json.JSONDecoder()
        for line in self.process.stdout:
            rest += line
            with self.changed:
                self.shown += line
                while rest.strip():
                    try:
                        message, end = decoder.raw_decode(rest.lstrip())
                    except json.JSONDecodeError:
                        break  # the rest is still to come
                    self.heard.append(message)
                    rest = rest.lstrip()[end:]
                self.changed.notify_all()

    def last(self):
        return f"heard: {self.heard[-5:]}"

    def say(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def type(self, text, name="inputData"):
        self.say(**{name: {"data": base64.b64encode(text.encode()).decode()}})

    def output(self):
        pieces = [message.get("outputData", message).get("data", "") for message in self.heard]
        return b"".join(base64.b64decode(piece) for piece in pieces).decode()

    def see(self, wanted):
        self.until(lambda: wanted in self.output(), f"output with {wanted!r}")

    def statuses(self):
        return [message["status"] for message in self.heard if "status" in message]

    def end(self):
        """Half-closes, and gives the status and what was said of it."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        status = self.process.wait(DEADLINE)
        return status, self.process.stderr.read()

    def discard(self):
        self.process.kill()
        self.process.wait()
        for end in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                end.close()
            except BrokenPipeError:
                pass


class Buf(Case):
    args = ("--tls-self-signed",)

    def curl(self, way, path, *args, token=TOKEN):
        header = ["-H", f"authorization: Bearer {token}"] if token else []
        base = "https" if way == "tls" else "http"
        trusted = ["--cacert", str(self.agent.state / "tls-cert.pem")] if way == "tls" else []
        local = ["--unix-socket", str(self.agent.socket)] if way == "unix" else []
        curl = Curl("--protocol", "grpc", *trusted, *local, *header, *args, f"{base}://localhost:{self.agent.port}/{path}")
        self.addCleanup(curl.discard)
        return curl

    def test_lists(self):
        for way in WAYS:
            for protocol in ("grpc-v1", "grpc-v1alpha"):
                with self.subTest(way, protocol=protocol):
                    # Everybody may see what there is to be called.
                    asked = self.curl(way, "", "--reflect-protocol", protocol, "--list-methods", token=None)
                    status, said = asked.end()
                    self.assertEqual(status, 0, said)
                    asked.until(lambda: TERMINAL in asked.shown, "the list")
                    methods = asked.shown.split()
                    self.assertLessEqual({EXEC, TERMINAL, "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"}, set(methods))

    def test_a_session_over_every_way(self):
        for way in WAYS:
            with self.subTest(way):
                call = self.curl(way, EXEC, "-d", "@-")
                call.say(sessionId="s", startRequest={"command": ["sh", "-c", "cat; exit 7"], "env": {"A": "b"}})
                call.until(lambda: call.heard, "STARTED")
                self.assertEqual(call.heard[0], {"sessionId": "s", "status": {}}, "zeros are not written")
                call.type("typed ")
                call.see("typed ")
                call.type("twice")
                call.say(stdinEof={})
                call.until(lambda: len(call.statuses()) == 2, "EXITED")
                self.assertEqual(call.heard[-1], {"sessionId": "s", "status": {"status": "EXITED", "exitCode": 7}})
                self.assertEqual(call.output(), "typed twice")
                self.assertEqual(call.end(), (0, ""))

    def test_a_terminal_by_the_repositorys_proto(self):
        call = self.curl("h2c", TERMINAL, "--schema", str(PROTO), "-d", "@-")
        script = "stty -echo; stty size; read line; echo got $line; stty size"
        call.say(control={"command": "sh", "arg": ["-c", script], "terminalSize": {"rows": 40, "cols": 120}})
        call.see("40 120\r\n")
        call.say(control={"interrupt": 1000})
        call.until(lambda: call.statuses(), "a status")
        [status] = call.statuses()
        self.assertEqual(status["code"], 3)
        self.assertTrue(status["message"] and status["description"])
        call.say(control={"terminalSize": {"rows": 10, "cols": 20}})
        call.type("it\n", "input")
        call.see("got it\r\n10 20\r\n")
        self.assertEqual(call.end(), (0, ""))

    def test_errors_are_those_of_grpc(self):
        call = self.curl("h2c", EXEC, "-d", "{}", token=None)
        status, said = call.end()
        self.assertEqual(status, UNAUTHENTICATED << 3, said)
        self.assertIn("unauthenticated", said)
        self.assertEqual(call.heard, [])
        call = self.curl("h2c", TERMINAL, "--schema", str(PROTO), "-d", "{}", token="wrong")
        self.assertEqual(call.end()[0], UNAUTHENTICATED << 3)

    def test_health(self):
        for way in WAYS:
            call = self.curl(way, "grpc.health.v1.Health/Check", "-d", '{"service": "exec_service.ExecService"}', token=None)
            self.assertEqual(call.end()[0], 0)
            call.until(lambda: call.heard, "an answer")
            self.assertEqual(call.heard, [{"status": "SERVING"}])
        unknown = self.curl("h2c", "grpc.health.v1.Health/Check", "-d", '{"service": "no.Such"}', token=None)
        self.assertEqual(unknown.end()[0], NOT_FOUND << 3)


if __name__ == "__main__":
    unittest.main()
