"""Commands as users of the SDK run them: output, ends, signals, folders, and what is said if there is nothing to run."""

import contextlib
import io
import os
import signal
import unittest
import uuid

import modal
from modal.exception import NotFoundError
from modal.stream_type import StreamType

from support import ERR, MIB, OUT, PIPE, TASK, Case, Status, alive, eventually, in_threads, pb, process_id, sha256

# What a start may be refused with: each of these the SDK raises at once, where others are sent again for ten seconds.
NOT_STARTED = (modal.exception.NotFoundError, modal.exception.InvalidError, modal.exception.ConflictError)


class Exec(Case):
    def test_echo(self):
        process = self.sandbox.exec("echo", "hello", "two  words", "")
        self.assertEqual(process.stdout.read(), "hello two  words \n")
        self.assertEqual(process.stderr.read(), "")
        self.assertEqual(process.wait(), 0)
        self.assertEqual(process.returncode, 0)

    def test_no_shell_is_between(self):
        process = self.sandbox.exec("printf", "%s|", "$HOME", "*", "a;b", "grüße\n")
        self.assertEqual(process.stdout.read(), "$HOME|*|a;b|grüße\n|")

    def test_stderr_is_apart(self):
        process = self.sh("echo out; echo err >&2; echo out again; echo err again >&2")
        self.assertEqual(process.stdout.read(), "out\nout again\n")
        self.assertEqual(process.stderr.read(), "err\nerr again\n")

    def test_lines_come_while_it_runs(self):
        process = self.sh("echo one; read line; echo $line; printf three", bufsize=1)
        lines = iter(process.stdout)
        self.assertEqual(next(lines), "one\n")
        self.assertIsNone(process.poll())
        process.stdin.write("two\n")
        process.stdin.drain()
        self.assertEqual(list(lines), ["two\n", "three"])
        self.assertEqual(process.wait(), 0)

    def test_bytes_are_as_they_were(self):
        process = self.sandbox.exec("sh", "-c", r"printf '\000\377\200\n'; printf '\377' >&2", text=False)
        self.assertEqual(process.stdout.read(), b"\0\xff\x80\n")
        self.assertEqual(process.stderr.read(), b"\xff")

    def test_a_stream_that_is_printed_here(self):
        # StreamType.STDOUT is the SDK's own affair: the agent sees two pipes.
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            process = self.sh("echo out; echo err >&2; exit 3", stdout=StreamType.STDOUT, stderr=StreamType.STDOUT)
            self.assertEqual(process.wait(), 3)
            eventually(lambda: len(printed.getvalue()) == 8, f"both lines are printed: {printed.getvalue()!r}")
        self.assertEqual(sorted(printed.getvalue().split()), ["err", "out"])

    def test_one_pipe_for_both(self):
        # No SDK asks for it any more, but the service has it.
        exec_id = self.router.start(
            "sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; done",
            stderr_config=pb.TASK_EXEC_STDERR_CONFIG_STDOUT,
        )
        self.assertEqual(self.router.read(exec_id), b"out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n")
        self.assertEqual(self.router.read(exec_id, ERR), b"")

    def test_statuses(self):
        for status in (0, 1, 2, 42, 126, 127, 137, 255):
            with self.subTest(status):
                process = self.sh(f"exit {status}")
                self.assertEqual(process.wait(), status)
                self.assertEqual(process.poll(), status)

    def test_a_status_and_a_signal_are_told_apart(self):
        # And 0 is said, which the SDK looks for.
        for script, told in [("exit 0", ("code", 0)), ("exit 137", ("code", 137)), ("kill -9 $$", ("signal", 9)),
                             ("kill -15 $$", ("signal", 15)), ("kill -34 $$", ("signal", 34))]:
            with self.subTest(script):
                exec_id = self.router.start("sh", "-c", script)
                for answer in (self.router.status(exec_id), self.router.poll(exec_id)):
                    which = answer.WhichOneof("exit_status")
                    self.assertEqual((which, getattr(answer, which)), told)

    def test_signals(self):
        self.assertEqual(self.sh("kill -9 $$").wait(), 137)
        self.assertEqual(self.sh("kill -TERM $$; sleep 1000").wait(), 143)
        self.assertEqual(self.sh("kill -INT $$; sleep 1000").wait(), 130)
        self.assertEqual(self.sh("ulimit -c 0; kill -SEGV $$").wait(), 139)

    def test_no_signal_is_ignored_in_what_is_started(self):
        status = self.sandbox.exec("cat", "/proc/self/status").stdout.read()
        masks = {name: int(value, 16) for name, value in
                 (line.split(":\t") for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn")))}
        self.assertEqual(masks, {"SigBlk": 0, "SigIgn": 0})

    def test_poll_before_and_after(self):
        process = self.sh("read line; exit 5")
        self.assertIsNone(process.poll())
        with self.assertRaises(modal.exception.InvalidError):
            process.returncode
        process.stdin.write("go\n")
        process.stdin.drain()
        self.assertEqual(eventually(process.poll, "it has ended"), 5)
        self.assertEqual(process.poll(), 5)
        self.assertEqual(process.wait(), 5)

    def test_many_wait_for_one(self):
        process = self.sh("read line; exit 6")
        def wait(number):
            if number == 0:
                process.stdin.write("go\n")
                process.stdin.drain()
            return self.router.wait(exec_id)
        exec_id = process_id(process)
        self.assertEqual(in_threads(wait, range(20)), [6] * 20)
        self.assertEqual([self.router.wait(exec_id) for _ in range(3)], [6] * 3)

    def test_the_end_of_a_process_does_not_wait_for_what_it_left_running(self):
        process = self.sh("sleep 1000 & echo $!; exit 4")
        output = iter(process.stdout)
        pid = int(next(output))
        try:
            with self.within(5):
                self.assertEqual(process.wait(), 4)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with self.within(5):
            self.assertEqual(list(output), [], "now nobody can print any more")

    def test_output_is_kept_for_whoever_comes_late(self):
        size = 5 * MIB
        process = self.sandbox.exec("head", "-c", str(size), "/dev/zero", text=False)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(sha256(process.stdout.read()), sha256(bytes(size)))
        exec_id = process_id(process)
        # Once more, and by two at a time.
        read = in_threads(lambda _: self.router.read(exec_id), range(2))
        self.assertEqual([len(data) for data in read], [size, size])

    def test_what_nobody_wants_holds_nobody_up(self):
        for option in ("stdout", "stderr"):
            with self.subTest(option):
                script = "head -c 1000000 /dev/zero" + (" >&2" if option == "stderr" else "")
                process = self.sh(script + "; exit 3", **{option: StreamType.DEVNULL})
                self.assertEqual(process.wait(), 3)
                descriptor = OUT if option == "stdout" else ERR
                self.assertEqual(self.router.read(process_id(process), descriptor), b"")

    def test_what_is_not_said_is_thrown_away(self):
        # The zero value of both fields, and it is /dev/null, not a pipe that is closed.
        exec_id = self.router.start(
            "sh", "-c", "echo $(readlink /proc/$$/fd/1) $(readlink /proc/$$/fd/2) > $0", str(self.agent.root / "where"),
            stdout_config=0, stderr_config=0,
        )
        self.assertEqual(self.router.wait(exec_id), 0)
        self.assertEqual((self.agent.root / "where").read_text(), "/dev/null /dev/null\n")

    def test_no_message_is_empty(self):
        exec_id = self.router.start("sh", "-c", "printf a; sleep 0.2; printf b; sleep 0.2; head -c 3000000 /dev/zero")
        pieces = self.router.read_at(exec_id, 0)
        self.assertEqual(sum(map(len, pieces)), 3_000_002)
        self.assertTrue(all(0 < len(piece) <= MIB for piece in pieces), sorted(map(len, pieces))[:3])
        self.assertEqual(self.router.read_at(self.router.start("true"), 0), [])

    def test_the_workspace_is_where_it_starts(self):
        self.assertEqual(self.sandbox.exec("pwd").stdout.read(), f"{self.agent.root}\n")

    def test_workdir(self):
        folder = self.agent.root / "a folder"
        folder.mkdir()
        self.assertEqual(self.sandbox.exec("pwd", workdir=str(folder)).stdout.read(), f"{folder}\n")
        self.assertEqual(self.sandbox.exec("pwd", workdir="/").stdout.read(), "/\n")

    def test_a_program_that_is_missing_is_named_at_once(self):
        for name in ("no-such-program-of-this-test", "/no/such/program/of/this/test", "./none-either"):
            with self.subTest(name), self.within(2):
                self.assertNotStarted(name, lambda: self.sandbox.exec(name, "x"))

    def test_what_cannot_be_run_is_named_at_once(self):
        file = self.agent.root / "no-program"
        file.write_text("#!/bin/sh\n")
        for name in (str(file), str(self.agent.root)):
            with self.subTest(name), self.within(2):
                self.assertNotStarted(name, lambda: self.sandbox.exec(name))

    def test_a_folder_that_is_missing_is_named_at_once(self):
        for workdir in ("/no/such/folder/of/this/test", "/etc/hostname", "/proc/self/exe"):
            with self.subTest(workdir), self.within(2):
                self.assertNotStarted(workdir, lambda: self.sandbox.exec("echo", workdir=workdir))

    def assertNotStarted(self, name, start):
        """Either the start is refused, or it is what a shell would say: a status of 126 or 127, and why on stderr."""
        try:
            process = start()
        except NOT_STARTED as error:
            self.assertIn(name, str(error))
        else:
            self.assertIn(process.wait(), (126, 127))
            self.assertIn(name, process.stderr.read())

    def test_no_command_at_all(self):
        with self.refused(Status.INVALID_ARGUMENT):
            request = pb.TaskExecStartRequest(task_id=TASK, exec_id=str(uuid.uuid4()), command_args=[], **PIPE)
            self.router.raw("TaskExecStart", request)

    def test_arguments_up_to_what_the_sdk_allows(self):
        long = "x" * (63 << 10)
        self.assertEqual(self.sandbox.exec("printf", "%s", long).stdout.read(), long)

    def test_two_tasks_do_not_know_each_other(self):
        exec_id = self.router.start("cat", task_id="ta-one")
        with self.assertRaises(NotFoundError), self.within(2):
            self.router.poll(exec_id, task_id="ta-other")
        self.router.write(exec_id, 0, b"x", True, task_id="ta-one")
        self.assertEqual(self.router.wait(exec_id, task_id="ta-one"), 0)

    def test_who_leaves_his_stream_leaves_the_program(self):
        sandbox, router = self.connect()
        process = self.sh("echo $$; trap 'echo term > term' TERM HUP; read line; echo got $line", sandbox=sandbox)
        pid = int(next(iter(process.stdout)))
        exec_id = process_id(process)
        router.close()
        self.assertTrue(alive(pid))
        self.assertIsNone(self.router.poll(exec_id).WhichOneof("exit_status"))
        self.router.write(exec_id, 0, b"this\n")
        self.assertEqual(self.router.read(exec_id), f"{pid}\ngot this\n".encode())
        self.assertEqual(self.router.wait(exec_id), 0)
        self.assertFalse((self.agent.root / "term").exists())


if __name__ == "__main__":
    unittest.main()
