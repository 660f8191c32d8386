"""A command that came in by this door, seen from the others."""

import os
import pty
import subprocess
import unittest

from support import BINARY, TOKEN, Case, eventually, process_id


class Doors(Case):
    def attach(self, exec_id):
        """`pid1 attach` on a terminal of its own: where one types, and a look at what it has shown."""
        ours, theirs = pty.openpty()
        url = f"http://127.0.0.1:{self.agent.port}/#token={TOKEN}"
        process = subprocess.Popen(
            [BINARY, "attach", "--exec", exec_id], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "PID1_URL": url},
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        shown = bytearray()

        def shows(wanted):
            try:
                shown.extend(os.read(ours, 65536))
            except OSError:
                pass
            return wanted in shown

        self.addCleanup(os.close, ours)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return ours, shows

    def test_a_command_is_followed_and_typed_into(self):
        process = self.sh("echo hello; read line; echo got $line; exit 4")
        keys, shows = self.attach(process_id(process))
        eventually(lambda: shows(b"hello"), "what it has said")
        os.write(keys, b"this\n")
        eventually(lambda: shows(b"got this"), "what it says to what was typed")
        self.assertEqual(process.wait(), 4)
        self.assertEqual(process.stdout.read(), "hello\ngot this\n")

    def test_a_terminal_is_one_for_all(self):
        process = self.sandbox.exec("sh", "-c", "echo hello; read line; echo got $line; exit 4", pty=True)
        keys, shows = self.attach(process_id(process))
        eventually(lambda: shows(b"hello"), "what it has shown")
        os.write(keys, b"this\r")
        self.assertEqual(process.wait(), 4)
        self.assertIn("got this\r\n", process.stdout.read())


if __name__ == "__main__":
    unittest.main()
