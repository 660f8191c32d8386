"""A client that is silently gone, as a machine that lost its power: nothing is said, and its session ends all the same."""

import unittest

from lines import Line
from support import Case, alive, eventually


class Silence(Case):
    args = ("--ping-interval", "1")

    def test_who_answers_no_ping_is_gone(self):
        line = Line(self.agent.port)
        self.addCleanup(line.close)
        channel = self.connect(port=line.port)
        lost = [self.stream(channel).sh("echo $$; exec sleep 1000", tty=tty) for tty in (False, True)]
        pids = [int(stream.see("\n")) for stream in lost]
        # Whoever answers, however little he says, is kept.
        quiet = self.stream().sh("echo $$; exec cat")
        pid = int(quiet.see("\n"))
        line.freeze()
        eventually(lambda: not any(map(alive, pids)), "the programs of the one who is gone are ended", 40)
        self.assertTrue(alive(pid))
        quiet.type("here")
        quiet.see("here")


if __name__ == "__main__":
    unittest.main()
