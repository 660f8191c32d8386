"""Output in large amounts: no program waits for its reader, the agent's memory does not grow, all can be read later."""

import pathlib
import time
import unittest

from support import MIB, Case, in_threads, process_id, sha256

# More than the window that the SDK opens for a whole connection.
SIZE = 160 * MIB
# Of the agent, whatever it keeps.
MEMORY = 100 * MIB


def memory(agent, which):
    """What the agent has now, VmRSS, or the most it ever had, VmHWM."""
    lines = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(which))


class Large(Case):
    def test_nobody_has_to_read_for_a_program_to_go_on(self):
        process = self.sandbox.exec("head", "-c", str(SIZE), "/dev/zero", text=False)
        self.assertEqual(process.wait(), 0)
        self.assertLess(memory(self.agent, "VmHWM"), MEMORY)
        self.assertEqual(sum(map(len, process.stdout)), SIZE)
        # And again, from anywhere.
        end = self.router.read_at(process_id(process), SIZE - 5)
        self.assertEqual(b"".join(end), bytes(5))
        self.assertLess(memory(self.agent, "VmHWM"), MEMORY)

    def test_who_stops_reading_holds_up_nobody_else(self):
        sandbox, _ = self.connect()
        process = sandbox.exec("head", "-c", str(SIZE), "/dev/zero", text=False)
        output = iter(process.stdout)
        taken = len(next(output))
        with self.within(10):
            self.assertEqual(self.router.wait(process_id(process)), 0)
            self.assertEqual(self.sandbox.exec("echo", "hello").stdout.read(), "hello\n")
        self.assertEqual(taken + sum(map(len, output)), SIZE)
        self.assertLess(memory(self.agent, "VmHWM"), MEMORY)


class Many(Case):
    def test_many_readers_of_one_output_at_their_own_pace(self):
        exec_id = self.router.start("sh", "-c", "seq 1000000; read line; seq 100000")
        wanted = "".join(f"{number}\n" for number in range(1, 1_000_001)).encode()
        offsets = [0, 1, len(wanted) // 2, len(wanted) - 1]
        rests = in_threads(
            lambda offset: b"".join(self.router.read_at(exec_id, offset, count=len(wanted) - offset)), offsets,
        )
        self.assertEqual([sha256(rest) for rest in rests], [sha256(wanted[offset:]) for offset in offsets])
        self.router.write(exec_id, 0, b"go\n")
        wanted += "".join(f"{number}\n" for number in range(1, 100_001)).encode()
        whole = in_threads(lambda _: sha256(self.router.read(exec_id)), range(4))
        self.assertEqual(whole, [sha256(wanted)] * 4)

    def test_one_byte_at_a_time(self):
        began = time.monotonic()
        exec_id = self.router.start("sh", "-c", "i=0; while [ $i -lt 5000 ]; do printf x; i=$((i + 1)); done")
        self.assertEqual(self.router.read(exec_id), b"x" * 5000)
        self.assertLess(time.monotonic() - began, 10)

    def test_many_that_have_ended_are_no_memory_either(self):
        def run(_):
            exec_id = self.router.start("head", "-c", str(MIB), "/dev/zero")
            return exec_id, self.router.wait(exec_id)
        ended = [pair for _ in range(6) for pair in in_threads(run, range(50), 40)]
        self.assertEqual([status for _, status in ended], [0] * 300)
        # All that ran at once had its share of it, and not all of that is given back.
        self.assertLess(memory(self.agent, "VmRSS"), 150 * MIB)
        self.assertEqual([len(self.router.read(exec_id)) for exec_id, _ in ended[::20]], [MIB] * 15)


if __name__ == "__main__":
    unittest.main()
