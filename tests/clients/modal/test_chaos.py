"""Lines that break every 50 to 500 ms during large transfers: what arrives is what was sent, to the byte.

PID1_LONG=1 makes it 200 MB in each direction. The newest SDK only: the old one takes ten cuts for each stream, whatever
comes in between.
"""

import hashlib
import io
import os
import random
import threading
import unittest

from lines import Line
from support import MIB, TASK, Case, noise, on_loop, pb, process_id, sha256

LONG = os.environ.get("PID1_LONG") == "1"
SIZE = (200 if LONG else 32) * MIB
PIECE = MIB


class Chaos(Case):
    def setUp(self):
        super().setUp()
        self.line = Line(self.agent.port)
        self.addCleanup(self.line.close)
        self.sandbox, self.router = self.connect(watch=True, port=self.line.port)
        self.data = noise(SIZE)
        (self.agent.root / "data").write_bytes(self.data)
        self.over = threading.Event()
        self.cutter = threading.Thread(target=self.cut, args=(random.Random(7),), daemon=True)

    def cut(self, dice):
        while not self.over.wait(dice.uniform(0.05, 0.5)):
            self.line.cut(hard=dice.random() < 0.5)

    def calm(self):
        self.over.set()
        self.cutter.join()
        # Otherwise nothing was tried.
        self.assertGreater(self.line.cuts, 5)

    def test_output(self):
        # It prints as long as there are cuts to go through, not as fast as it can.
        script = "for i in $(seq $1); do tail -c +$((i * $2 + 1 - $2)) data | head -c $2; sleep 0.06; done"
        process = self.sandbox.exec(
            "sh", "-c", script, "sh", str(SIZE // PIECE), str(PIECE), text=False, workdir=str(self.agent.root),
        )
        self.cutter.start()
        digest, count = hashlib.sha256(), 0
        for piece in process.stdout:
            digest.update(piece)
            count += len(piece)
        self.calm()
        self.assertEqual((count, digest.hexdigest()), (SIZE, sha256(self.data)))
        self.assertEqual(process.wait(), 0)
        offsets = self.router.offsets(pb.TaskExecStdioReadRequest, exec_id=process_id(process))
        self.assertGreater(len(offsets), 3, "it went on in the middle")
        self.assertEqual(offsets, sorted(offsets))

    def test_input_message_by_message(self):
        process = self.sandbox.exec("sha256sum", text=False)
        self.cutter.start()
        for at in range(0, SIZE, PIECE):
            process.stdin.write(self.data[at:at + PIECE])
            process.stdin.drain()
            # As above; and no other way to have it last.
            self.over.wait(0.04)
        self.calm()
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.stdout.read().split()[0].decode(), sha256(self.data))
        offsets = self.router.offsets(pb.TaskExecStdinWriteRequest, exec_id=process_id(process))
        self.assertGreater(len(offsets), SIZE // PIECE + 1, "something was sent twice")

    def test_input_in_one_stream(self):
        source = Slow(self.data, self.over)
        exec_id = self.router.start("sha256sum")
        self.cutter.start()
        # It gives up after nine cuts, unless it is told otherwise.
        streamed = on_loop(
            self.router.client.exec_stdin_write_stream(TASK, exec_id, source, max_resume_attempts=1000), 100,
        )
        self.calm()
        self.assertEqual(streamed, SIZE)
        self.assertEqual(self.router.read(exec_id).split()[0].decode(), sha256(self.data))


class Slow(io.BytesIO):
    """Something to read from that takes its time, as a disk does."""

    def __init__(self, data, over):
        super().__init__(data)
        self.over = over

    def read(self, count=-1):
        self.over.wait(0.02)
        return super().read(count)


if __name__ == "__main__":
    unittest.main()
