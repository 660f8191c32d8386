"""Lines that break in the middle of everything: nothing hangs, nothing is left running, nobody else notices.

PID1_LONG=1 makes it a minute.
"""

import os
import random
import threading
import time
import unittest

import grpc

from lines import Line
from support import MIB, Case, Stream, eventually, new_mark, running, sha256

SECONDS = 60 if os.environ.get("PID1_LONG") == "1" else 10
QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]

# What a call may be told when its line breaks.
BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}


class Cuts(Case):
    def setUp(self):
        self.line = Line(self.agent.port)
        self.addCleanup(self.line.close)
        self.data = os.urandom(4 * MIB)
        self.digest = sha256(self.data)
        self.mark = new_mark()
        self.failures = []

    def transfer(self, stream):
        """4 MiB there and back; its status if the line broke, None if all went well."""
        # The mark is an argument of all the programs of this test, and of nobody else's.
        stream.start("sh", "-c", "cat; sha256sum </dev/null >&2; exit 7", self.mark)
        for at in range(0, len(self.data), MIB):
            stream.type(self.data[at:at + MIB])
        stream.eof()
        stream.until(lambda: stream.status or stream.kinds()[-1:] == ["exited"], "an end, of whatever kind", 60)
        if stream.status is not None:
            return stream.status
        if stream.exited() != 7 or sha256(stream.stdout) != self.digest:
            raise AssertionError(f"an end was told, and not all had arrived: {len(stream.stdout)} bytes")
        stream.half_close()
        return stream.over() if stream.over() in BROKEN else None

    def work(self, channel, until, count, broken=frozenset()):
        while not until.is_set():
            stream = Stream(channel)
            try:
                status = self.transfer(stream)
                if status is None:
                    count["whole"] += 1
                elif status in broken:
                    count["broken"] += 1
                else:
                    raise AssertionError(f"{stream.last()}")
            except BaseException as error:
                self.failures.append(error)
                return
            finally:
                stream.cancel()

    def test_random_cuts_during_large_transfers(self):
        over, dice = threading.Event(), random.Random(5)
        cut, undisturbed, alone = ({"whole": 0, "broken": 0} for _ in range(3))
        channels = [self.connect(port=self.line.port, options=QUICKLY_BACK) for _ in range(2)]
        workers = [threading.Thread(target=self.work, args=(channel, over, cut, BROKEN)) for channel in channels]
        direct = self.connect()
        workers.append(threading.Thread(target=self.work, args=(direct, over, undisturbed)))
        # A call that was there before and does next to nothing.
        quiet = self.stream().start("sh", "-c", "cat", self.mark)
        # What one does where nobody else does anything.
        one = threading.Thread(target=self.work, args=(direct, over, alone))
        one.start()
        over.wait(2)
        over.set()
        one.join()
        over.clear()
        for worker in workers:
            worker.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            over.wait(dice.uniform(0.05, 0.5))
            self.line.cut(hard=dice.random() < 0.5)
        over.set()
        # The last ones end, too, now that nobody cuts any more.
        for worker in workers:
            worker.join(90)
            self.assertFalse(worker.is_alive(), "a call hangs")
        self.assertEqual(self.failures, [])
        self.assertGreater(cut["broken"], SECONDS, f"lines were broken in the middle: {cut}")
        self.assertEqual(undisturbed["broken"], 0)
        # It has its third of the processor, so that much and no less, with room for a machine that does other things.
        share = undisturbed["whole"] / SECONDS / (alone["whole"] / 2)
        self.assertGreater(share, 1 / 8, f"{undisturbed} of {alone} in 2 s")
        quiet.type("still here")
        quiet.see("still here")
        quiet.half_close()
        self.assertEqual(quiet.over(), grpc.StatusCode.OK)
        eventually(lambda: not running(self.mark), "no program is left")
        self.assert_works()

    def test_a_line_that_breaks_ends_its_sessions_and_the_next_call_has_a_new_one(self):
        channel = self.connect(port=self.line.port, options=QUICKLY_BACK)
        streams = [self.stream(channel).start("sh", "-c", "trap '' TERM; echo up; sleep 1000", self.mark, tty=tty) for tty in (True, False)]
        for stream in streams:
            stream.see("up")
        self.line.cut()
        for stream in streams:
            self.assertIn(stream.over(), BROKEN)
        eventually(lambda: not running(self.mark), "no program is left")
        self.assert_works(channel)


if __name__ == "__main__":
    unittest.main()
