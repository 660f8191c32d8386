"""Large transfers: whole to the last byte, whatever else happens on the connection, and never at the cost of others."""

import os
import random
import threading
import unittest

import grpc

import exec_service_pb2 as pb
from support import METHOD, MIB, OWNER, Case, sha256


class Bytes(Case):
    def test_all_values_of_a_byte_both_ways(self):
        data = bytes(range(256))
        stream = self.stream().start("cat")
        stream.type(data)
        stream.eof()
        self.assertEqual((stream.exited(), bytes(stream.stdout)), (0, data))
        terminal = self.stream().sh("stty raw -echo; echo ready; head -c 256", tty=True)
        terminal.see("ready\n")
        terminal.type(data)
        self.assertEqual(terminal.exited(), 0)
        self.assertEqual(bytes(terminal.stdout).partition(b"ready\n")[2], data)

    def test_megabytes_through_cat_in_pieces_of_all_sizes(self):
        data, at, size = os.urandom(8 * MIB), 0, 1
        stream = self.stream().start("cat")
        while at < len(data):
            stream.type(data[at:at + size])
            at, size = at + size, size * 3 % 400_009
        stream.type(b"")
        stream.eof()
        self.assertEqual(stream.exited(deadline=60), 0)
        self.assertEqual(sha256(stream.stdout), sha256(data))

    def test_stdout_and_stderr_are_whole_each(self):
        stream = self.stream().sh(
            "head -c 4000000 /dev/urandom | tee out; head -c 4000000 /dev/urandom | tee err >&2; sha256sum out err >sums; cat sums"
        )
        self.assertEqual(stream.exited(deadline=60), 0)
        out, sums = stream.stdout[:4_000_000], stream.stdout[4_000_000:].decode().split()
        self.assertEqual([sums[0], sums[2]], [sha256(out), sha256(stream.stderr)])

    def test_sixty_mib_in_one_message(self):
        data = random.Random(7).randbytes(60 * MIB)
        stream = self.stream().start("sha256sum")
        stream.type(data)
        stream.eof()
        self.assertEqual(stream.exited(deadline=60), 0)
        self.assertEqual(stream.text().split()[0], sha256(data))

    def test_a_message_over_a_hundred_mib_is_refused_and_harms_nobody(self):
        beside = self.stream().start("cat")
        beside.started()
        stream = self.stream().start("cat")
        stream.started()
        stream.type(bytes(100 * MIB + 1))
        self.assertEqual(stream.over(60), grpc.StatusCode.OUT_OF_RANGE)
        self.assertEqual(bytes(stream.stdout), b"", "nothing of it has been typed")
        beside.type("goes on")
        beside.see("goes on")
        self.assertIsNone(beside.status)
        self.assert_works()

    def test_a_client_that_reads_nothing_holds_its_own_program_back_only(self):
        size = 40 * MIB
        held = threading.Event()
        self.addCleanup(held.set)
        script = f"head -c {size} /dev/zero; touch written"
        start = pb.ExecMessage(start_request=pb.ExecStartRequest(command=["sh", "-c", script]))

        def requests():
            yield start
            held.wait()

        method = self.channel.stream_stream(METHOD, pb.ExecMessage.SerializeToString, pb.ExecMessage.FromString)
        call = method(requests(), metadata=OWNER)
        self.addCleanup(call.cancel)
        self.assertEqual(next(call).status.status, 0)
        # Others on the same connection have all of it meanwhile.
        for _ in range(3):
            other = self.stream().sh("head -c 5000000 /dev/zero")
            self.assertEqual((other.exited(), len(other.stdout)), (0, 5_000_000))
        self.assertFalse((self.agent.root / "written").exists(), "it waits for its reader")
        got = 0
        for message in call:
            got += len(message.output_data.data)
            if message.WhichOneof("payload") == "status":
                break
        self.assertEqual((got, message.status.exit_code), (size, 0))

    def test_a_program_that_reads_nothing_holds_its_own_client_back_only(self):
        stream = self.stream().start("sleep", "1000")
        for _ in range(64):
            stream.type(bytes(MIB))
        for _ in range(3):
            self.assert_works()
        self.assertIsNone(stream.status)
        stream.cancel()
        self.assertEqual(stream.over(), grpc.StatusCode.CANCELLED)

    def test_a_program_that_does_not_want_its_input_is_no_failure(self):
        stream = self.stream().sh("exec <&-; echo closed; sleep 0.3; exit 3")
        stream.see("closed")
        for _ in range(20):
            stream.type(bytes(MIB))
        stream.eof()
        self.assertEqual(stream.exited(), 3)
        # Nor is what comes after its end.
        stream.type(bytes(MIB))
        stream.start("true")
        self.assertEqual(stream.exited(2), 0)

    def test_a_hundred_streams_at_once(self):
        streams = [self.stream().start("cat") for _ in range(100)]
        for stream in streams:
            stream.started()
        for turn in range(3):
            for number, stream in enumerate(streams):
                stream.type(f"{turn}:{number};" + "x" * 10_000)
            for number, stream in reversed([*enumerate(streams)]):
                stream.until(lambda: len(stream.stdout) >= (turn + 1) * 10_000, f"the echo of {number}")
        for stream in streams:
            stream.eof()
        for number, stream in enumerate(streams):
            self.assertEqual(stream.exited(), 0)
            self.assertEqual(stream.text(), "".join(f"{turn}:{number};" + "x" * 10_000 for turn in range(3)))

    def test_a_hundred_streams_of_output_all_progress(self):
        streams = [self.stream().sh("while :; do echo line; sleep 0.01; done") for _ in range(100)]
        # Each of them again and again, while all others run.
        for lines in (1, 5, 10):
            for stream in streams:
                stream.until(lambda: stream.stdout.count(b"line\n") >= lines, f"{lines} lines")


if __name__ == "__main__":
    unittest.main()
