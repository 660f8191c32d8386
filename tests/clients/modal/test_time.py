"""Commands that take too long: killed in time, with all they started, and what they said stays."""

import asyncio
import time
import unittest

from modal.stream_type import StreamType

from support import (
    TASK, Case, GRPCError, Status, alive, eventually, in_threads, new_mark, on_loop, pb, process_id, running,
    shell_status,
)

# Whoever is first: the agent kills it, or the SDK looks at its own clock and does not ask any more.
KILLED = (137, -1)


class Time(Case):
    def test_what_takes_too_long_is_killed_and_what_it_said_stays(self):
        began = time.monotonic()
        process = self.sh("echo before; echo err >&2; sleep 1000; echo after", timeout=1)
        self.assertIn(process.wait(), KILLED)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertLess(time.monotonic() - began, 5)
        # Somebody who has no deadline is told what happened, and both streams have an end.
        exec_id = process_id(process)
        answer = self.router.status(exec_id)
        self.assertEqual((answer.WhichOneof("exit_status"), answer.signal), ("signal", 9))
        self.assertEqual(self.router.read(exec_id), b"before\n")
        self.assertEqual(self.router.read(exec_id, 2), b"err\n")
        self.assertEqual(shell_status(self.router.poll(exec_id)), 137)

    def test_the_readers_of_the_sdk_end_too(self):
        process = self.sh("echo before; exec sleep 1000", timeout=1)
        with self.within(5):
            self.assertEqual(process.stdout.read(), "before\n")
            self.assertEqual(process.stderr.read(), "")
            self.assertIn(process.wait(), KILLED)
            self.assertIn(process.poll(), KILLED)

    def test_nobody_acts_on_the_death_of_another(self):
        # A shell whose command is killed runs the next one, if it still can.
        def run(_):
            exec_id = self.router.start("sh", "-c", "echo before; sleep 1000; echo after", timeout_secs=1)
            return self.router.wait(exec_id), self.router.read(exec_id)
        self.assertEqual(in_threads(run, range(60)), [(137, b"before\n")] * 60)

    def test_nobody_of_its_family_is_left(self):
        mark = new_mark()
        # A child, one in the background, one in a session of its own, and all of them deaf to all but KILL; they hold
        # the pipe open, which would never end.
        child = "sh -c 'sleep 1000; : $0' $0"
        script = f"trap '' TERM HUP INT; (sleep 1000; : $0) & setsid {child} & {child}"
        process = self.sh(script, mark, timeout=1)
        exec_id = process_id(process)
        eventually(lambda: len(running(mark)) >= 4, "all of them run")
        self.assertIn(process.wait(), KILLED)
        eventually(lambda: not running(mark), f"nobody is left: {mark}")
        self.assertEqual(self.router.read(exec_id), b"")
        self.assertEqual(self.router.wait(exec_id), 137)

    def test_who_is_in_time_is_not_bothered(self):
        process = self.sh("sleep 0.2; echo done; exit 3", timeout=30)
        self.assertEqual(process.wait(), 3)
        self.assertEqual(process.stdout.read(), "done\n")

    def test_a_limit_without_output(self):
        process = self.sh("sleep 1000", timeout=1, stdout=StreamType.DEVNULL, stderr=StreamType.DEVNULL)
        self.assertIn(process.wait(), KILLED)

    def test_a_terminal_has_a_limit_too(self):
        process = self.sandbox.exec("sh", "-c", "echo $$; sleep 1000", timeout=1, pty=True)
        pid = int(next(iter(process.stdout)))
        self.assertIn(process.wait(), KILLED)
        eventually(lambda: not alive(pid), "it is gone")
        self.assertEqual(self.router.wait(process_id(process)), 137)

    def test_no_limit_is_none(self):
        exec_id = self.router.start("sh", "-c", "sleep 0.3; exit 5", timeout_secs=0)
        self.assertEqual(self.router.wait(exec_id), 5)

    def test_who_waits_longer_than_a_call_may_take_asks_again(self):
        # The SDK's own limit is a minute for each attempt; here it is half a second.
        exec_id = self.router.start("sh", "-c", "read line; exit 9")
        call, metadata = self.router.client._stub.TaskExecWait, self.router.client._get_metadata()
        request = pb.TaskExecWaitRequest(task_id=TASK, exec_id=exec_id)
        for _ in range(3):
            with self.assertRaises((asyncio.TimeoutError, GRPCError)) as raised:
                on_loop(call(request, timeout=0.5, metadata=metadata))
            if isinstance(raised.exception, GRPCError):
                self.assertIn(raised.exception.status, (Status.DEADLINE_EXCEEDED, Status.CANCELLED))
        self.router.write(exec_id, 0, b"go\n")
        self.assertEqual(self.router.wait(exec_id), 9)


if __name__ == "__main__":
    unittest.main()
