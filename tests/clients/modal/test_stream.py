"""Input in one long call, which only the newest SDK has: it goes on where the agent says, and ends only when told."""

import asyncio
import concurrent.futures
import io
import threading
import unittest

from modal.exception import ConflictError, NotFoundError

from lines import Line
from support import DEADLINE, KIB, MIB, TASK, Case, GRPCError, Status, eventually, loop, noise, on_loop, pb, sha256


class Opened:
    """A stream of input, piece by piece, as long as a test likes; without the SDK's second attempts."""

    def __init__(self, router, exec_id, offset):
        self.router = router
        self.pieces = asyncio.Queue()
        self.over = asyncio.run_coroutine_threadsafe(self.call(), loop())
        self.send(start=pb.TaskExecStdinWriteStreamStart(task_id=TASK, exec_id=exec_id, offset=offset))

    async def call(self):
        """The whole call; it gives the answer, or raises what it was answered with."""
        metadata = self.router.client._get_metadata()
        async with self.router.client._stub.TaskExecStdinWriteStream.open(metadata=metadata) as stream:
            while (piece := await self.pieces.get()) is not None:
                if piece == "end of call":
                    await stream.end()
                else:
                    await stream.send_message(pb.TaskExecStdinWriteStreamRequest(**piece))
            return await stream.recv_message()

    def put(self, piece):
        loop().call_soon_threadsafe(self.pieces.put_nowait, piece)

    def send(self, **payload):
        self.put(payload)

    def end(self):
        self.send(end=pb.TaskExecStdinWriteStreamEnd())
        self.put("end of call")

    def half_close(self):
        self.put("end of call")

    def error(self, deadline=DEADLINE):
        """The GRPCError that it was answered with, None if that was well; nothing more is sent."""
        self.put(None)
        try:
            self.over.result(deadline)
        except GRPCError as error:
            return error
        except concurrent.futures.TimeoutError:
            self.over.cancel()
            raise AssertionError(f"{deadline} s have passed without an answer") from None
        return None

    def cancel(self):
        self.over.cancel()


class Stream(Case):
    def stream(self, exec_id, data, router=None, deadline=60, **options):
        client = (router or self.router).client
        return on_loop(client.exec_stdin_write_stream(TASK, exec_id, io.BytesIO(data), **options), deadline)

    def open(self, exec_id, offset):
        opened = Opened(self.router, exec_id, offset)
        self.addCleanup(opened.cancel)
        return opened

    def taken(self, exec_id, count):
        """Waits until so many bytes came out again: nothing is asked, because asking ends the stream."""
        self.assertEqual(len(b"".join(self.router.read_at(exec_id, 0, count=count))), count)

    def test_a_stream_from_beginning_to_end(self):
        data = noise(5 * MIB)
        exec_id = self.router.start("sha256sum")
        self.assertEqual(self.stream(exec_id, data), len(data))
        self.assertEqual(self.router.read(exec_id).split()[0].decode(), sha256(data))
        status = self.router.stdin_status(exec_id)
        self.assertEqual((status.num_bytes_written, status.closed), (len(data), True))
        self.assertEqual(self.router.wait(exec_id), 0)

    def test_an_empty_one(self):
        exec_id = self.router.start("wc", "-c")
        self.assertEqual(self.stream(exec_id, b""), 0)
        self.assertEqual(self.router.read(exec_id).strip(), b"0")

    def test_what_is_known_before_and_after(self):
        exec_id = self.router.start("cat")
        for data in (b"", b"abc"):
            self.router.write(exec_id, 0, data)
            status = self.router.stdin_status(exec_id)
            self.assertEqual((status.num_bytes_written, status.closed), (len(data), False))
        self.router.write(exec_id, 3, b"d", eof=True)
        status = self.router.stdin_status(exec_id)
        self.assertEqual((status.num_bytes_written, status.closed), (4, True))

    def test_behind_what_was_written_otherwise(self):
        exec_id = self.router.start("cat")
        self.router.write(exec_id, 0, b"abc")
        opened = self.open(exec_id, 3)
        opened.send(data=b"def")
        opened.end()
        self.assertIsNone(opened.error())
        self.assertEqual(self.router.read(exec_id), b"abcdef")

    def test_only_an_end_is_an_end(self):
        exec_id = self.router.start("sh", "-c", "cat; echo over")
        broken = [lambda opened: opened.cancel(), lambda opened: opened.half_close()]
        for number, leave in enumerate(broken):
            opened = self.open(exec_id, 3 * number)
            opened.send(data=b"abc")
            self.taken(exec_id, 3 * (number + 1))
            leave(opened)
            status = self.router.stdin_status(exec_id)
            self.assertEqual((status.num_bytes_written, status.closed), (3 * (number + 1), False))
        self.assertEqual(self.router.poll(exec_id).WhichOneof("exit_status"), None)
        self.router.write(exec_id, 6, b"!", eof=True)
        self.assertEqual(self.router.read(exec_id), b"abcabc!over\n")

    def test_another_offset_than_the_agents_is_refused(self):
        exec_id = self.router.start("cat")
        self.router.write(exec_id, 0, b"abc")
        for offset in (0, 2, 4, 1 << 50):
            opened = self.open(exec_id, offset)
            self.assertEqual(self.refusal(opened), Status.FAILED_PRECONDITION, offset)
        self.router.write(exec_id, 3, eof=True)
        self.assertEqual(self.router.read(exec_id), b"abc")

    def refusal(self, opened):
        error = opened.error()
        self.assertIsNotNone(error)
        self.assertGreater(len(error.message or ""), 8, "a sentence says why")
        return error.status

    def test_a_stream_that_does_not_begin_with_its_beginning(self):
        async def call(message):
            async with self.router.client._stub.TaskExecStdinWriteStream.open(
                metadata=self.router.client._get_metadata()
            ) as stream:
                await stream.send_message(message, end=True)
                await stream.recv_message()
        for payload in ({"data": b"abc"}, {"end": pb.TaskExecStdinWriteStreamEnd()}, {}):
            with self.subTest(payload), self.refused(Status.INVALID_ARGUMENT):
                on_loop(call(pb.TaskExecStdinWriteStreamRequest(**payload)))

    def test_a_second_beginning(self):
        exec_id = self.router.start("cat")
        opened = self.open(exec_id, 0)
        opened.send(data=b"abc")
        opened.send(start=pb.TaskExecStdinWriteStreamStart(task_id=TASK, exec_id=exec_id, offset=3))
        self.assertEqual(self.refusal(opened), Status.INVALID_ARGUMENT)
        self.assertFalse(self.router.stdin_status(exec_id).closed)

    def test_who_asks_ends_the_stream_that_is_there(self):
        exec_id = self.router.start("cat")
        opened = self.open(exec_id, 0)
        opened.send(data=b"abc")
        self.taken(exec_id, 3)
        status = self.router.stdin_status(exec_id)
        self.assertEqual((status.num_bytes_written, status.closed), (3, False))
        error = opened.error()
        self.assertIsNotNone(error, "the stream has ended, and not well")
        # Somebody else goes on, and nothing of the old one gets in between.
        following = self.open(exec_id, 3)
        following.send(data=b"def")
        following.end()
        self.assertIsNone(following.error())
        self.assertEqual(self.router.read(exec_id), b"abcdef")

    def test_who_asks_ends_a_stream_that_waits_for_its_program(self):
        fifo = self.fifo()
        exec_id = self.router.start("sh", "-c", "read go < $0; sha256sum", str(fifo))
        # More than anybody takes who is not sure that it is read.
        data = noise(64 * MIB)
        opened = self.open(exec_id, 0)
        for at in range(0, len(data), 256 * KIB):
            opened.send(data=data[at:at + 256 * KIB])
        with self.within(10):
            status = eventually(lambda: self.written(exec_id), "something was taken")
        self.assertLess(status.num_bytes_written, len(data))
        self.assertFalse(status.closed)
        self.assertIsNotNone(opened.error())
        # What is told is what is true: from there on all comes once.
        following = self.open(exec_id, status.num_bytes_written)
        for at in range(status.num_bytes_written, len(data), 256 * KIB):
            following.send(data=data[at:at + 256 * KIB])
        following.end()
        fifo.write_text("go\n")
        self.assertIsNone(following.error())
        self.assertEqual(self.router.read(exec_id).split()[0].decode(), sha256(data))

    def written(self, exec_id):
        status = self.router.stdin_status(exec_id)
        return status if status.num_bytes_written else None

    def test_a_second_stream_ends_the_first_or_is_refused(self):
        exec_id = self.router.start("cat")
        first = self.open(exec_id, 0)
        first.send(data=b"abc")
        self.taken(exec_id, 3)
        second = self.open(exec_id, 3)
        second.send(data=b"def")
        second.end()
        answer = second.error()
        if answer is None:
            self.assertIsNotNone(first.error())
            self.assertEqual(self.router.read(exec_id), b"abcdef")
        else:
            self.assertIn(answer.status, (Status.FAILED_PRECONDITION, Status.ABORTED))
            first.end()
            self.assertIsNone(first.error())
            self.assertEqual(self.router.read(exec_id), b"abc")

    def test_a_program_that_has_ended(self):
        exec_id = self.router.start("true")
        self.assertEqual(self.router.wait(exec_id), 0)
        with self.assertRaises(ConflictError), self.within(5):
            self.stream(exec_id, b"late" * MIB)

    def test_a_program_that_ends_in_the_middle(self):
        exec_id = self.router.start("head", "-c", "100000")
        with self.assertRaises(ConflictError), self.within(5):
            self.stream(exec_id, bytes(32 * MIB))
        self.assertEqual(self.router.wait(exec_id), 0)

    def test_nobody_by_that_name(self):
        nobody = "00000000-0000-4000-8000-000000000000"
        with self.assertRaises(NotFoundError), self.within(2):
            self.stream(nobody, b"x")
        with self.assertRaises(NotFoundError), self.within(2):
            self.router.stdin_status(nobody)

    def test_a_line_that_breaks_three_times(self):
        line = Line(self.agent.port)
        self.addCleanup(line.close)
        _, router = self.connect(watch=True, port=line.port)
        data = noise(12 * MIB)
        exec_id = router.start("sha256sum")
        streamed = []
        worker = threading.Thread(
            target=lambda: streamed.append(self.stream(exec_id, data, router=router)), daemon=True,
        )
        line.break_after(3 * MIB, "up")
        worker.start()
        for cut in (1, 2):
            eventually(lambda: line.cuts >= cut, f"cut number {cut}")
            line.break_after(2 * MIB, "up")
        eventually(lambda: line.cuts >= 3, "the last cut")
        worker.join(30)
        self.assertEqual(streamed, [len(data)])
        self.assertEqual(self.router.read(exec_id).split()[0].decode(), sha256(data))
        sent = [message for message in router.sent if isinstance(message, pb.TaskExecStdinWriteStreamRequest)]
        starts = [message.start.offset for message in sent if message.WhichOneof("payload") == "start"]
        self.assertEqual(starts[0], 0)
        self.assertGreaterEqual(len(starts), 4, "it began again after each cut")
        self.assertEqual(starts, sorted(starts))
        self.assertGreater(starts[-1], MIB, f"and not from the beginning: {starts}")


if __name__ == "__main__":
    unittest.main()
