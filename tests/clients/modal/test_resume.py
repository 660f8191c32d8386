"""Lines that break in the middle: the SDK goes on where it was, and no byte is lost or comes twice, either way."""

import hashlib
import os
import threading
import time
import unittest

from lines import Line
from support import MIB, Case, eventually, in_threads, new_only, noise, pb, process_id, sha256

# Enough that the line breaks in the middle of it, several times.
SIZE = 24 * MIB


class Resume(Case):
    def setUp(self):
        super().setUp()
        self.line = Line(self.agent.port)
        self.addCleanup(self.line.close)
        self.data = noise(SIZE)
        (self.agent.root / "data").write_bytes(self.data)

    def lined(self):
        """A sandbox on the line that breaks, and the SDK's client there."""
        return self.connect(watch=True, port=self.line.port)

    def test_output_goes_on_where_it_was(self):
        sandbox, router = self.lined()
        process = sandbox.exec("cat", str(self.agent.root / "data"), text=False)
        digest = Digest()
        output = iter(process.stdout)
        for number in (1, 2, 3):
            self.line.break_after(3 * MIB, "down")
            digest.take_until(output, lambda: self.line.cuts >= number)
        digest.take_until(output, lambda: False)
        self.assertEqual((digest.count, digest.text()), (SIZE, sha256(self.data)))
        self.assertEqual(process.wait(), 0)
        self.assertEqual(self.line.cuts, 3)
        offsets = router.offsets(pb.TaskExecStdioReadRequest, exec_id=process_id(process), file_descriptor=0)
        self.assertEqual(offsets[0], 0)
        self.assertEqual(len(offsets), 4, "it asked again after each cut")
        self.assertTrue(all(a < b for a, b in zip(offsets, offsets[1:])), f"and further on each time: {offsets}")

    def test_output_that_nobody_takes_meanwhile(self):
        # The line breaks while the user looks at something else; all that comes then has to be kept.
        sandbox, router = self.lined()
        process = sandbox.exec("sh", "-c", "echo first; cat", text=False)
        output = iter(process.stdout)
        self.assertEqual(next(output), b"first\n")
        self.line.cut()
        self.router.write(process_id(process), 0, self.data[:2 * MIB], True)
        self.assertEqual(self.router.wait(process_id(process)), 0)
        self.assertEqual(b"".join(output), self.data[:2 * MIB])
        self.assertEqual(router.offsets(pb.TaskExecStdioReadRequest, exec_id=process_id(process))[-1], 6)

    def test_both_streams_at_once(self):
        sandbox, router = self.lined()
        process = sandbox.exec("sh", "-c", "cat data & cat data >&2; wait", text=False, workdir=str(self.agent.root))
        self.line.break_after(10 * MIB, "down")
        read = in_threads(lambda stream: sha256(stream.read()), [process.stdout, process.stderr], 40)
        self.assertEqual(read, [sha256(self.data)] * 2)
        self.assertEqual(self.line.cuts, 1)
        for descriptor in (0, 1):
            offsets = router.offsets(
                pb.TaskExecStdioReadRequest, exec_id=process_id(process), file_descriptor=descriptor,
            )
            self.assertEqual(len(offsets), 2)
            self.assertGreater(offsets[1], 0)

    def test_input_goes_on_where_it_was(self):
        sandbox, router = self.lined()
        process = sandbox.exec("sha256sum", text=False)
        for number in range(3):
            self.line.break_after(4 * MIB, "up")
            process.stdin.write(self.data[number * 8 * MIB:(number + 1) * 8 * MIB])
            process.stdin.drain()
            self.assertEqual(self.line.cuts, number + 1)
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.stdout.read().split()[0].decode(), sha256(self.data))
        offsets = router.offsets(pb.TaskExecStdinWriteRequest, exec_id=process_id(process))
        wanted = [0, 8 * MIB, 16 * MIB, 24 * MIB]
        self.assertEqual(sorted(set(offsets)), wanted)
        for offset in wanted[:3]:
            self.assertGreaterEqual(offsets.count(offset), 2, f"each was sent again: {offsets}")

    def test_input_that_waits_for_its_program(self):
        # The line breaks while a write is accepted in part, and what was sent again waits beside it.
        sandbox, router = self.lined()
        fifo = self.fifo()
        process = sandbox.exec("sh", "-c", "read go < $0; sha256sum", str(fifo), text=False)
        data = noise(32 * MIB, seed=2)
        written = []

        def write():
            for at in range(0, len(data), 16 * MIB):
                process.stdin.write(data[at:at + 16 * MIB])
                process.stdin.drain()
                written.append(at)
            process.stdin.write_eof()
            process.stdin.drain()
            written.append("end")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        count = lambda: len(router.offsets(pb.TaskExecStdinWriteRequest))
        for _ in range(3):
            # Nothing goes up any more: it waits.
            self.quiet()
            sent = count()
            self.line.cut()
            eventually(lambda: count() > sent, "it is sent again")
        self.assertNotIn("end", written)
        fifo.write_text("go\n")
        writer.join(20)
        self.assertEqual(written[-1:], ["end"])
        self.assertEqual(process.stdout.read().split()[0].decode(), sha256(data))

    def quiet(self):
        """Waits until nothing has gone to the agent for a while."""
        last = [self.line.passed["up"], time.monotonic()]

        def still():
            if self.line.passed["up"] != last[0]:
                last[:] = self.line.passed["up"], time.monotonic()
            return time.monotonic() - last[1] > 0.3
        eventually(still, "nothing is sent")

    def test_an_answer_that_is_lost(self):
        # The input has arrived and the line breaks before the answer has: it is sent again, and is there already.
        sandbox, router = self.lined()
        process = sandbox.exec("cat", text=False)
        exec_id = process_id(process)
        lines = [b"%d " % number * 2000 + b"\n" for number in range(10)]
        for number, line in enumerate(lines):
            self.line.break_answer(2000)
            process.stdin.write(line)
            process.stdin.drain()
            self.assertEqual(self.line.cuts, number + 1)
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(self.router.read(exec_id), b"".join(lines))
        offsets = router.offsets(pb.TaskExecStdinWriteRequest, exec_id=exec_id)
        self.assertEqual([offsets.count(4001 * number) for number in range(10)], [2] * 10, "each was sent twice")

    def test_a_start_whose_answer_is_lost(self):
        sandbox, router = self.lined()
        script = "echo run >> runs; echo here; exit 4 #" + "x" * 4000
        for number in range(5):
            self.line.break_answer(2000)
            process = sandbox.exec("sh", "-c", script, workdir=str(self.agent.root))
            self.assertEqual(process.stdout.read(), "here\n")
            self.assertEqual(process.wait(), 4)
            self.assertEqual(self.line.cuts, number + 1)
        self.assertEqual((self.agent.root / "runs").read_text(), "run\n" * 5)
        starts = [message for message in router.sent if isinstance(message, pb.TaskExecStartRequest)]
        self.assertEqual(len(starts), 10, "each was sent twice")

    def test_waiting_through_cuts(self):
        sandbox, _ = self.lined()
        process = sandbox.exec("sh", "-c", "read line; exit 5")
        ended = []
        waiter = threading.Thread(target=lambda: ended.append(process.wait()), daemon=True)
        waiter.start()
        for number in (1, 2):
            eventually(lambda: self.line.connections > self.line.cuts, "it is connected")
            self.line.cut(hard=number == 2)
        self.assertEqual(ended, [])
        self.router.write(process_id(process), 0, b"go\n")
        waiter.join(10)
        self.assertEqual(ended, [5])

    def test_a_line_that_breaks_changes_nothing_for_others(self):
        sandbox, _ = self.lined()
        mine = self.sandbox.exec("sh", "-c", "read line; echo mine $line")
        theirs = sandbox.exec("sh", "-c", "echo ready; read line; echo theirs $line")
        output = iter(theirs.stdout)
        self.assertEqual(next(output), "ready\n")
        self.line.cut()
        self.assertEqual(self.line.cuts, 1)
        for process in (mine, theirs):
            process.stdin.write("here\n")
            process.stdin.drain()
        self.assertEqual(mine.stdout.read(), "mine here\n")
        self.assertEqual("".join(output), "theirs here\n")

    @new_only
    def test_who_reads_slowly_enough_to_be_disconnected(self):
        # The newest version gives its connection back when nobody has used it for a while, also between two pieces.
        os.environ["MODAL_SANDBOX_CHANNEL_IDLE_TIMEOUT"] = "1"
        self.addCleanup(os.environ.pop, "MODAL_SANDBOX_CHANNEL_IDLE_TIMEOUT")
        sandbox, router = self.lined()
        process = sandbox.exec("cat", str(self.agent.root / "data"), text=False)
        digest = Digest()
        output = iter(process.stdout)
        digest.take(next(output))
        eventually(lambda: not router.client._channel._connected, "it has let go of its connection")
        digest.take_until(output, lambda: False)
        self.assertEqual((digest.count, digest.text()), (SIZE, sha256(self.data)))
        self.assertEqual(self.line.connections, 2)
        self.assertGreater(len(router.offsets(pb.TaskExecStdioReadRequest, exec_id=process_id(process))), 1)


class Digest:
    """What came, as a sum."""

    def __init__(self):
        self.sum = hashlib.sha256()
        self.count = 0

    def take(self, piece):
        self.sum.update(piece)
        self.count += len(piece)

    def take_until(self, pieces, done):
        for piece in pieces:
            self.take(piece)
            if done():
                break

    def text(self):
        return self.sum.hexdigest()


if __name__ == "__main__":
    unittest.main()
