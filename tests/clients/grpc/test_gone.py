"""Whoever goes away has ended his session, however he goes."""

import os
import signal
import unittest

import grpc

from support import Case, alive, eventually


class Gone(Case):
    # It writes a file when it is asked to end; a child, and one in a session of its own, ignore all that is polite.
    SCRIPT = """
        trap 'echo asked > $0; exit' TERM HUP
        (trap '' TERM HUP; exec sleep 1000) & echo child $!
        setsid sh -c 'trap "" TERM HUP; echo daemon $$; exec sleep 1000' &
        echo leader $$
        while :; do sleep 0.05; done
    """

    def check(self, leave, status):
        for tty in (False, True):
            with self.subTest(tty=tty):
                channel = self.agent.channel()
                self.addCleanup(channel.close)
                file = self.agent.root / f"asked-{self.id()}-{tty}"
                stream = self.stream(channel).start("sh", "-c", self.SCRIPT, str(file), tty=tty)
                stream.until(lambda: stream.stdout.count(b"\n") == 3, "three pids")
                pids = {who: int(pid) for who, pid in (line.split() for line in stream.text().splitlines())}
                self.assertTrue(all(map(alive, pids.values())))
                leave(stream, channel)
                self.assertEqual(stream.over(), status)
                if tty:
                    # Who has left the terminal's session has left the terminal.
                    self.assertTrue(alive(pids["daemon"]))
                    os.kill(pids["daemon"], signal.SIGKILL)
                eventually(lambda: not any(map(alive, pids.values())), "nothing of it is left")
                self.assertEqual(file.read_text(), "asked\n", "it was asked before it was killed")
                self.assertNotIn("exited", stream.kinds())

    def test_half_close(self):
        self.check(lambda stream, _: stream.half_close(), grpc.StatusCode.OK)

    def test_cancel(self):
        self.check(lambda stream, _: stream.cancel(), grpc.StatusCode.CANCELLED)

    def test_disconnect(self):
        self.check(lambda _, channel: channel.close(), grpc.StatusCode.CANCELLED)

    def test_deadline(self):
        stream = self.stream(timeout=1).sh("echo $$; exec sleep 1000")
        other = self.stream().sh("echo $$; exec sleep 1000")
        pid, other_pid = int(stream.see("\n")), int(other.see("\n"))
        self.assertEqual(stream.over(), grpc.StatusCode.DEADLINE_EXCEEDED)
        eventually(lambda: not alive(pid), "its program is ended")
        self.assertTrue(alive(other_pid), "the other call goes on")

    def test_what_has_ended_before_is_not_bothered(self):
        stream = self.stream().sh("nohup sh -c 'sleep 0.3; echo done > left-running' >/dev/null 2>&1 & echo started")
        self.assertEqual(stream.exited(), 0)
        stream.half_close()
        self.assertEqual(stream.over(), grpc.StatusCode.OK)
        eventually(lambda: (self.agent.root / "left-running").exists(), "what it left running runs on")


if __name__ == "__main__":
    unittest.main()
