"""Programs that are there already: followed by ExecService, and those of ExecService from a terminal of `pid1 attach`."""

import fcntl
import os
import pathlib
import pty
import struct
import subprocess
import termios
import threading
import unittest

from support import AUDIENCE, BINARY, DEADLINE, SECRET, TOKEN, Case, News, alive, eventually, jwt


class Attached(News):
    """`pid1 attach` on a terminal of its own."""

    def __init__(self, url, *args, rows=24, cols=80):
        super().__init__()
        self.shown, self.over = bytearray(), False
        self.terminal, inner = pty.openpty()
        self.resize(rows, cols)
        self.process = subprocess.Popen(
            [BINARY, "attach", url, *args], stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": "/nowhere"},
        )
        os.close(inner)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                data = b""  # nobody has the other end any more
            with self.changed:
                self.shown += data
                self.over = not data
                self.changed.notify_all()
            if self.over:
                return

    def last(self):
        return f"shown: {bytes(self.shown[-1000:])}"

    def see(self, wanted):
        def shown():
            if wanted.encode() in self.shown:
                return True
            if self.over:
                raise AssertionError(f"it has ended; {self.last()}")
            return False
        self.until(shown, f"{wanted!r} is shown")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def resize(self, rows, cols):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def ended(self):
        return self.process.wait(DEADLINE)

    def discard(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


class Attaching(Case):
    args = ("--jwt-audience", AUDIENCE)
    env = {"PID1_JWT_SECRET": SECRET}

    def attach(self, *args, **size):
        attached = Attached(f"{self.agent.url}/#token={TOKEN}", *args, **size)
        self.addCleanup(attached.discard)
        return attached

    def following(self, target, **options):
        return self.stream(**options).start(container_id=target)


class Numbered(Attaching):
    def test_by_the_agents_number_whoever_started_it(self):
        script = "stty -echo; echo up; while read line; do echo got $line; done; exit 6"
        shell = self.attach("--name", "numbered", "--", "sh", "-c", script)
        shell.see("up")
        # It is the only program there is, so all other numbers are nobody's.
        streams = {number: self.following(f"pid1://process/{number}") for number in range(5)}
        for stream in streams.values():
            stream.until(lambda: stream.messages, "an answer")
        [(number, stream)] = [(number, stream) for number, stream in streams.items() if stream.kinds()[0] == "started"]
        stream.see("up")
        stream.type("by exec\r")
        shell.see("got by exec")
        shell.type("by attach\r")
        stream.see("got by attach")
        stream.resize(11, 22)
        other = self.attach("--id", str(number), rows=13, cols=33)
        other.see("got by attach")
        other.type("\x04")
        for each in (stream.exited, shell.ended, other.ended):
            self.assertEqual(each(), 6)


class Others(Attaching):
    def test_by_pid_and_by_name_one_program_is_followed_by_many(self):
        first = self.stream().sh("echo $$; while read line; do echo got $line; done; exit 5", session_id="shared one")
        pid = int(first.see("\n"))
        others = [self.following(f"pid1://pid/{pid}"), self.following("pid1://exec/shared one")]
        others[1].start(container_id="pid1://exec/shared one", session_id="chosen")
        self.assertEqual(others[1].started(2), "chosen")
        for stream in others:
            stream.see(f"{pid}\n")  # what it has printed before
        for number, stream in enumerate([first, *others]):
            stream.type(f"{number}\n")
            for each in [first, *others]:
                each.see(f"got {number}\n")
        others[0].eof()
        for stream in [first, *others]:
            self.assertEqual(stream.exited(), 5)
        self.assertEqual(first.text(), f"{pid}\ngot 0\ngot 1\ngot 2\n")

    def test_who_follows_ends_nothing_when_he_goes(self):
        first = self.stream().sh("echo $$; cat", session_id="kept")
        pid = int(first.see("\n"))
        for leave in ("half_close", "cancel"):
            stream = self.following("pid1://exec/kept")
            stream.see(f"{pid}\n")
            getattr(stream, leave)()
            stream.over()
        replaced = self.following("pid1://exec/kept")
        replaced.see(f"{pid}\n")
        replaced.start("true")
        self.assertEqual(replaced.exited(), 0)
        self.assertTrue(alive(pid))
        first.type("on")
        first.see("on")
        first.half_close()
        eventually(lambda: not alive(pid), "its own client ends it")

    def test_the_end_of_its_own_client_is_told_to_who_follows(self):
        first = self.stream().sh("echo $$; exec sleep 1000", session_id="to be ended")
        pid = first.see("\n").strip()
        follower = self.following(f"pid1://pid/{pid}")
        follower.started()
        first.cancel()
        self.assertEqual(follower.exited(), 143)

    def test_the_past_of_one_that_has_ended_is_told(self):
        first = self.stream().sh("echo past; exit 9", session_id="over")
        self.assertEqual(first.exited(), 9)
        later = self.following("pid1://exec/over")
        self.assertEqual((later.exited(), later.text()), (9, "past\n"))

    def test_a_name_means_the_last_of_that_name(self):
        for count in (1, 2):
            self.assertEqual(self.stream().sh(f"echo {count}", session_id="twice").exited(), 0)
        later = self.following("pid1://exec/twice")
        self.assertEqual((later.exited(), later.text()), (0, "2\n"))

    def test_a_slow_follower_holds_nobody_back(self):
        first = self.stream().sh("read go; head -c 30000000 /dev/zero; echo done >&2", session_id="fast")
        first.started()
        slow = self.following("pid1://exec/fast")
        slow.started()
        with slow.changed:  # its reader stands still
            first.type("\n")
            self.assertEqual(first.exited(), 0)
        self.assertEqual(len(first.stdout), 30_000_000)
        # What is no longer kept is said to be so.
        self.assertEqual(slow.exited(), 0)
        if len(slow.stdout) < 30_000_000:
            self.assertIn(b"no longer kept", slow.stdout)

    def test_what_is_not_there_is_an_error_and_the_stream_goes_on(self):
        stream = self.stream()
        unknown = ["process/999999", "pid/1", "exec/nobody"]
        none = ["pid/x", "process/-1", "exec/", "", "other/1"]
        for count, target in enumerate([*unknown, *none], 1):
            stream.start("echo", "not run", container_id=f"pid1://{target}")
            self.assertTrue(stream.error(count))
        stream.start("true")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.text(), "")

    def test_programs_of_others_are_an_owners(self):
        first = self.stream(token=jwt("editor")).start("cat", session_id="of an editor")
        first.started()
        refused = self.following("pid1://exec/of an editor", token=jwt("editor"))
        self.assertIn("owner", refused.error())
        self.assertEqual(refused.statuses()[0].session_id, "")
        refused.start("true")
        self.assertEqual(refused.exited(), 0, "the stream is still good")
        let_in = self.following("pid1://exec/of an editor", token=jwt("owner"))
        let_in.type("by an owner")
        first.see("by an owner")

    def test_a_terminal_of_exec_is_attached_to(self):
        script = "stty -echo; stty size; while read line; do echo got $line; stty size; done; exit 4"
        stream = self.stream().sh(script, tty=True, rows=30, cols=90)
        stream.see("30 90\r\n")
        [pid] = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*") if cmdline(path).endswith(script)]
        attached = self.attach("--pid", str(pid), rows=20, cols=70)
        attached.see("30 90")
        attached.type("from attach\r")
        stream.see("got from attach\r\n")
        stream.see("20 70\r\n")  # who resized last: whoever came last
        stream.type("from exec\n")
        attached.see("got from exec")
        attached.resize(15, 50)
        eventually(lambda: size(pid) == (15, 50), "the window's size is the program's")
        # Leaving ends nothing.
        attached.type("\x10\x11")
        self.assertEqual(attached.ended(), 0)
        stream.type("once more\n")
        stream.see("got once more\r\n")
        again = self.attach("--pid", str(pid))
        again.see("got once more")
        again.type("\x04")
        self.assertEqual(stream.exited(), 4)
        self.assertEqual(again.ended(), 4)

    def test_a_program_with_pipes_is_attached_to(self):
        stream = self.stream().sh("echo $$; while read line; do echo got $line; done; exit 3")
        pid = stream.see("\n").strip()
        attached = self.attach("--pid", pid)
        attached.see(pid)
        attached.type("from attach\r\n")
        stream.see("got from attach")
        stream.eof()
        self.assertEqual(stream.exited(), 3)
        self.assertEqual(attached.ended(), 3)

    def test_the_session_that_ends_with_its_client_is_over_for_who_is_attached(self):
        stream = self.stream().sh("echo $$; exec sleep 1000", tty=True)
        pid = stream.see("\n").strip()
        attached = self.attach("--pid", pid)
        attached.see(pid)
        stream.cancel()
        self.assertEqual(attached.ended(), 129)


def cmdline(path):
    try:
        return (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def size(pid):
    """The size of the terminal of `pid`."""
    with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as terminal:
        return struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))[:2]


if __name__ == "__main__":
    unittest.main()
