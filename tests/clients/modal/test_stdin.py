"""What is written into a command: every byte once, whatever is sent twice, and an end that is an end."""

import os
import signal
import threading
import unittest

from modal.exception import ConflictError, NotFoundError

from support import KIB, MIB, TASK, Case, Status, eventually, in_threads, noise, pb, process_id, sha256

# What the service's clients take for "not now, and not by asking again".
CONFLICT = (Status.FAILED_PRECONDITION, Status.ABORTED)


class Stdin(Case):
    def test_what_is_typed_comes_out(self):
        process = self.sandbox.exec("cat")
        for word in ("one ", "two ", "grüße\n"):
            process.stdin.write(word)
            process.stdin.drain()
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.stdout.read(), "one two grüße\n")
        self.assertEqual(process.wait(), 0)

    def test_an_end_without_anything(self):
        process = self.sandbox.exec("wc", "-c")
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.stdout.read().strip(), "0")

    def test_a_second_end_is_no_matter(self):
        process = self.sandbox.exec("cat")
        process.stdin.write("x")
        process.stdin.write_eof()
        process.stdin.drain()
        process.stdin.drain()
        self.assertEqual(process.stdout.read(), "x")
        process.stdin.drain()
        self.assertEqual(process.wait(), 0)
        process.stdin.drain()

    def test_without_an_end_it_waits(self):
        process = self.sh("cat; echo over")
        output = iter(process.stdout)
        process.stdin.write("a")
        process.stdin.drain()
        self.assertEqual(next(output), "a")
        self.assertIsNone(process.poll())
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual("".join(output), "over\n")

    def test_sixteen_mebibytes_in_one_message(self):
        data = noise(16 * MIB)
        process = self.sh("sha256sum; wc -c", text=False)
        process.stdin.write(data)
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.stdout.read().split()[0].decode(), sha256(data))

    def test_a_program_that_reads_slowly_gets_all(self):
        data = noise(3 * MIB)
        fifo = self.fifo()
        process = self.sh("read go < $0; sha256sum", str(fifo), text=False)
        process.stdin.write(data)
        process.stdin.write_eof()
        drained = threading.Thread(target=process.stdin.drain, daemon=True)
        drained.start()
        self.assertIsNone(process.poll())
        fifo.write_text("go\n")
        drained.join(20)
        self.assertFalse(drained.is_alive())
        self.assertEqual(process.stdout.read().split()[0].decode(), sha256(data))

    def test_what_was_there_already_is_not_written_again(self):
        exec_id = self.router.start("cat")
        self.router.write(exec_id, 0, b"hello ")
        self.router.write(exec_id, 0, b"hello ")
        self.router.write(exec_id, 0, b"hel")
        self.router.write(exec_id, 3, b"lo ")
        self.router.write(exec_id, 3, b"lo world")
        self.router.write(exec_id, 11, b"!")
        self.router.write(exec_id, 0, b"hello world!", eof=True)
        self.router.write(exec_id, 0, b"hello world!", eof=True)
        self.router.write(exec_id, 12, eof=True)
        self.router.write(exec_id, 0, eof=True)
        self.assertEqual(self.router.read(exec_id), b"hello world!")
        self.assertEqual(self.router.wait(exec_id), 0)

    def test_what_is_written_by_many_at_once_is_written_once(self):
        data = noise(6 * MIB)
        fifo = self.fifo()
        exec_id = self.router.start("sh", "-c", "read go < $0; sha256sum", str(fifo))
        routers = [self.router, self.router, self.connect()[1], self.connect()[1]]

        def write(router):
            for at in range(0, len(data), MIB):
                router.write(exec_id, at, data[at:at + MIB])
        opener = threading.Thread(target=fifo.write_text, args=("go\n",), daemon=True)
        opener.start()
        in_threads(write, routers)
        self.router.write(exec_id, len(data), eof=True)
        self.assertEqual(self.router.read(exec_id).split()[0].decode(), sha256(data))

    def test_a_hole_is_refused_and_changes_nothing(self):
        exec_id = self.router.start("cat")
        self.router.write(exec_id, 0, b"abc")
        for offset in (4, 1 << 40, (1 << 64) - 1):
            with self.subTest(offset), self.refused(Status.FAILED_PRECONDITION), self.within(2):
                self.router.raw("TaskExecStdinWrite", self.request(exec_id, offset, b"hole"))
        self.router.write(exec_id, 3, b"def", eof=True)
        self.assertEqual(self.router.read(exec_id), b"abcdef")

    def test_an_end_at_offset_0_after_other_writes_is_an_end(self):
        # As JavaScript's SDK closes an stdin that failed.
        exec_id = self.router.start("cat")
        self.router.write(exec_id, 0, b"abc")
        self.router.write(exec_id, 0, eof=True)
        self.assertEqual(self.router.read(exec_id), b"abc")
        self.assertEqual(self.router.wait(exec_id), 0)

    def test_more_behind_an_end_is_a_conflict(self):
        fifo = self.fifo()
        exec_id = self.router.start("sh", "-c", "cat; read go < $0", str(fifo))
        self.router.write(exec_id, 0, b"abc", eof=True)
        with self.assertRaises(ConflictError), self.within(2):
            self.router.write(exec_id, 3, b"def")
        with self.refused(*CONFLICT):
            self.router.raw("TaskExecStdinWrite", self.request(exec_id, 3, b"def"))
        fifo.write_text("go\n")
        self.assertEqual(self.router.read(exec_id), b"abc")

    def test_to_whom_has_ended_is_a_conflict(self):
        process = self.sh("exit 7")
        self.assertEqual(process.wait(), 7)
        process.stdin.write("late\n")
        with self.assertRaises(ConflictError), self.within(2):
            process.stdin.drain()
        # But an end is what it has anyway.
        self.router.write(process_id(process), 0, eof=True)

    def test_to_whom_does_not_read_any_more_is_a_conflict_soon(self):
        process = self.sh("exec <&-; echo $$; exec sleep 1000")
        pid = int(next(iter(process.stdout)))
        with self.assertRaises(ConflictError), self.within(5):
            for _ in range(3):
                process.stdin.write(bytes(256 * KIB))
                process.stdin.drain()
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(process.wait(), 137)

    def test_who_ends_in_the_middle_of_a_write_ends_it(self):
        fifo = self.fifo()
        process = self.sh("head -c 1 >/dev/null; echo read; read go < $0; exit 3", str(fifo))
        failures = []

        def write():
            try:
                # More than anybody takes who is not sure that it is read.
                for _ in range(4):
                    process.stdin.write(bytes(16 * MIB))
                    process.stdin.drain()
            except ConflictError as error:
                failures.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        self.assertEqual(next(iter(process.stdout)), "read\n")
        fifo.write_text("go\n")
        self.assertEqual(process.wait(), 3)
        writer.join(5)
        self.assertFalse(writer.is_alive(), "the write is over when its program is")
        self.assertEqual(len(failures), 1)

    def test_a_write_that_waits_holds_up_nobody_else(self):
        slow = self.router.start("sleep", "1000")
        writer = threading.Thread(target=self.quietly, args=(slow,), daemon=True)
        writer.start()
        with self.within(5):
            process = self.sandbox.exec("cat")
            process.stdin.write("quick")
            process.stdin.write_eof()
            process.stdin.drain()
            self.assertEqual(process.stdout.read(), "quick")
            self.assertIsNone(self.router.poll(slow).WhichOneof("exit_status"))

    def quietly(self, exec_id):
        try:
            for number in range(4):
                self.router.write(exec_id, number * 16 * MIB, bytes(16 * MIB), deadline=60)
        except BaseException:
            pass  # it ends with the agent

    def test_nobody_by_that_name(self):
        with self.assertRaises(NotFoundError), self.within(2):
            self.router.write("00000000-0000-4000-8000-000000000000", 0, b"x")

    def test_a_hundred_commands_and_their_input_on_one_connection(self):
        count = 100
        # Each has its two output streams and its wait open while all are written to.
        start = lambda number: self.router.start("sh", "-c", "cat; exit $0", str(number))
        exec_ids = in_threads(start, range(count), 60)
        started = [threading.Event() for _ in range(count)]

        def follow(number):
            outcomes = in_threads(
                lambda what: what(), [
                    lambda: self.router.read(exec_ids[number], deadline=60),
                    lambda: self.router.wait(exec_ids[number], 60),
                    lambda: feed(number),
                ], 60,
            )
            return outcomes[:2]

        def feed(number):
            started[number].set()
            # Nobody writes before everybody listens.
            eventually(lambda: all(event.is_set() for event in started), "all are there", 60)
            self.router.write(exec_ids[number], 0, f"input {number} ".encode() * 100, deadline=60)
            self.router.write(exec_ids[number], len(f"input {number} ") * 100, b"end", True, deadline=60)

        for number, (output, status) in enumerate(in_threads(follow, range(count), 60)):
            self.assertEqual((output, status), (f"input {number} ".encode() * 100 + b"end", number))

    def request(self, exec_id, offset, data, eof=False):
        return pb.TaskExecStdinWriteRequest(task_id=TASK, exec_id=exec_id, offset=offset, data=data, eof=eof)


if __name__ == "__main__":
    unittest.main()
