"""The published SDK of openYuanrong, unmodified, through a stand-in for the frontend that it speaks to."""

import os
import signal
import unittest

import grpc
from yr_sandbox.pty import Pty, PtyError
from yr_sandbox.types import ConnectionConfig

from bridge import Bridge
from support import DEADLINE, TOKEN, Agent, Case, News, alive, eventually


class Shown(News):
    """What a session's terminal has shown."""

    def __init__(self):
        super().__init__()
        self.data = bytearray()

    def __call__(self, data):
        with self.changed:
            self.data += data
            self.changed.notify_all()

    def last(self):
        return f"shown: {bytes(self.data[-1000:])}"

    def text(self):
        return self.data.decode(errors="replace")

    def see(self, wanted):
        self.until(lambda: wanted.encode() in self.data, f"{wanted!r} is shown")
        return self.text()


class OpenYuanrong(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bridge = Bridge(cls.channel, TOKEN)
        cls.addClassCleanup(cls.bridge.close)

    def create(self, command, instance="instance-1", bridge=None, **options):
        # The SDK takes a server for one with TLS if it is not told.
        config = ConnectionConfig(server_address=(bridge or self.bridge).address, token="the frontend's own", use_tls=False)
        shown = Shown()
        session = Pty(instance, connection=config).create(command, on_data=shown, timeout=DEADLINE, **options)
        self.addCleanup(session.close)
        return session, shown

    def test_a_shell_its_size_resizing_input_and_exit_status(self):
        session, shown = self.create(["bash", "--norc", "-i"], rows=40, cols=120)
        self.assertRegex(session.session_id, "^[0-9a-f-]{36}$")
        shown.see("$ " if os.getuid() else "# ")
        session.send_stdin(b"stty size; echo $TERM\n")
        shown.see("40 120\r\nxterm\r\n")
        session.resize(rows=10, cols=20)
        session.send_stdin(b"stty size\n")
        shown.see("10 20\r\n")
        self.assertFalse(session.done)
        session.send_stdin("echo grüße $((6 * 7)); exit 7\n".encode())
        self.assertEqual(session.wait(DEADLINE), 7)
        self.assertIn("grüße 42\r\n", shown.text())
        self.assertEqual((session.exit_code, session.done), (7, True))

    def test_ends_by_signals(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            session, shown = self.create(["sh", "-c", "echo $$; exec sleep 1000"])
            os.kill(int(shown.see("\n")), number)
            self.assertEqual(session.wait(DEADLINE), 128 + number)

    def test_what_is_not_there_and_what_cannot_be_run(self):
        self.assertEqual(self.create(["no-such-program"])[0].wait(DEADLINE), 127)
        self.assertEqual(self.create(["/etc"])[0].wait(DEADLINE), 126)
        session, shown = self.create("no-such-program with arguments")
        self.assertEqual(session.wait(DEADLINE), 127)
        shown.see("no-such-program")

    def test_all_bytes_there_and_back(self):
        session, shown = self.create(["sh", "-c", "stty raw -echo; echo ready; head -c 65536; exit 3"])
        shown.see("ready\n")
        data = bytes(range(256)) * 256
        session.send_stdin(data)
        self.assertEqual(session.wait(DEADLINE), 3)
        self.assertEqual(bytes(shown.data).partition(b"ready\n")[2], data)

    def test_all_output_comes_before_the_end(self):
        session, shown = self.create(["sh", "-c", "stty -opost; seq 1 100000"])
        self.assertEqual(session.wait(DEADLINE), 0)
        self.assertEqual(shown.text().split(), [str(number) for number in range(1, 100_001)])

    def test_the_end_of_input_is_a_key_on_a_terminal(self):
        session, shown = self.create(["cat"])
        session.close_stdin()
        session.send_stdin(b"still\n")
        shown.see("still\r\nstill\r\n")
        session.send_stdin(b"\x04")
        self.assertEqual(session.wait(DEADLINE), 0)

    def test_closing_ends_the_program(self):
        session, shown = self.create(["sh", "-c", "echo $$; trap '' HUP TERM; while :; do sleep 0.1; done"])
        pid = int(shown.see("\n"))
        session.close()
        eventually(lambda: not alive(pid), "its program is gone")
        with self.assertRaises(PtyError):
            session.wait(DEADLINE)

    def test_many_at_once(self):
        sessions = [self.create(["sh", "-c", f"echo up; read line; echo got $line; exit {number}"]) for number in range(10)]
        for number, (session, shown) in reversed([*enumerate(sessions)]):
            shown.see("up")
            session.send_stdin(b"%d\n" % number)
            self.assertEqual(session.wait(DEADLINE), number)
            self.assertIn(f"got {number}\r\n", shown.text())

    def test_an_unknown_instance_is_the_frontends_to_refuse(self):
        with self.assertRaisesRegex(PtyError, "502"):
            self.create(["true"], instance="instance-2")

    def test_the_agents_end_is_the_sessions_end(self):
        agent = Agent()
        self.addCleanup(agent.discard)
        channel = agent.channel()
        self.addCleanup(channel.close)
        bridge = Bridge(channel, TOKEN)
        self.addCleanup(bridge.close)
        hung_up, shown = self.create(["sh", "-c", "echo up; exec sleep 1000"], bridge=bridge)
        shown.see("up")
        agent.process.send_signal(signal.SIGTERM)
        self.assertEqual(hung_up.wait(DEADLINE), 129, "how its program ended is told first")
        self.assertEqual(agent.process.wait(DEADLINE), 0)
        with self.assertRaisesRegex(PtyError, "before terminal status"):
            self.create(["true"], bridge=bridge)
        for call in bridge.calls[1:]:
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    unittest.main()
