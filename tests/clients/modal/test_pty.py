"""Commands on a terminal: what they see of it, the keys that are signals, and a stderr that is empty and ends."""

import unittest

from support import ERR, Case, alive, api_pb2, process_id


def info(rows=0, cols=0, **more):
    """As the SDKs ask for one; Python's says 0 by 0 where it has no terminal itself."""
    return api_pb2.PTYInfo(
        enabled=True, winsz_rows=rows, winsz_cols=cols, pty_type=api_pb2.PTYInfo.PTY_TYPE_SHELL,
        no_terminate_on_idle_stdin=True, **more,
    )


class Pty(Case):
    def run_on(self, pty, script):
        exec_id = self.router.start("sh", "-c", script, pty_info=pty)
        return self.router.read(exec_id).decode()

    def test_all_output_is_on_stdout_as_terminals_have_it(self):
        process = self.sh("echo hello; echo err >&2; test -t 0 && test -t 1 && test -t 2", pty=True)
        self.assertEqual(process.stdout.read(), "hello\r\nerr\r\n")
        with self.within(2):
            self.assertEqual(process.stderr.read(), "", "it has an end")
        self.assertEqual(process.wait(), 0)

    def test_without_one_there_is_none(self):
        self.assertEqual(self.sh("test -t 0 || test -t 1 || test -t 2").wait(), 1)

    def test_its_size(self):
        self.assertEqual(self.run_on(info(), "stty size"), "24 80\r\n")
        self.assertEqual(self.run_on(info(24, 80), "stty size"), "24 80\r\n")
        self.assertEqual(self.run_on(info(50, 132), "stty size"), "50 132\r\n")

    def test_what_it_is_called(self):
        names = {"env_term": "xterm-kitty", "env_colorterm": "truecolor", "env_term_program": "tests"}
        shown = self.run_on(info(**names), "echo $TERM $COLORTERM $TERM_PROGRAM")
        self.assertEqual(shown, "xterm-kitty truecolor tests\r\n")
        self.assertNotEqual(self.run_on(info(), "echo ${TERM:-none}"), "none\r\n", "a terminal has some name")

    def test_its_message_alone_is_enough(self):
        kind = api_pb2.PTYInfo(pty_type=api_pb2.PTYInfo.PTY_TYPE_SHELL)
        self.assertEqual(self.run_on(kind, "test -t 1 && echo yes"), "yes\r\n")
        self.assertEqual(self.run_on(api_pb2.PTYInfo(enabled=True), "test -t 1 && echo yes"), "yes\r\n")
        self.assertEqual(self.run_on(api_pb2.PTYInfo(), "test -t 1 || echo no"), "no\n")

    def test_control_c_reaches_the_program(self):
        process = self.sandbox.exec(
            "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done", pty=True,
        )
        output = iter(process.stdout)
        text = next(output)
        self.assertIn("ready\r\n", text)
        process.stdin.write("\x03")
        process.stdin.drain()
        self.assertEqual(process.wait(), 9)
        self.assertIn("caught\r\n", "".join(output))

    def test_control_c_ends_who_does_not_care(self):
        process = self.sandbox.exec("sh", "-c", "echo ready; exec sleep 1000", pty=True)
        next(iter(process.stdout))
        process.stdin.write("\x03")
        process.stdin.drain()
        self.assertEqual(process.wait(), 130)

    def test_a_shell_that_is_typed_into(self):
        process = self.sandbox.exec("env", "PS1=ready$ ", "bash", "--norc", "-i", pty=True)
        seen = []
        output = iter(process.stdout)

        def until(wanted):
            while wanted not in "".join(seen):
                seen.append(next(output))

        until("ready$ ")
        for line, answer in [("echo $((6 * 7))\n", "42\r\n"), ("cd /; pwd\n", "/\r\n"), ("exit 3\n", "exit")]:
            process.stdin.write(line)
            process.stdin.drain()
            until(answer)
        self.assertEqual(process.wait(), 3)

    def test_an_end_of_input_is_the_key_for_it(self):
        process = self.sandbox.exec("cat", pty=True)
        process.stdin.write("abc\n")
        process.stdin.drain()
        output = iter(process.stdout)
        text = ""
        while text.count("abc\r\n") < 2:
            text += next(output)
        process.stdin.write_eof()
        process.stdin.drain()
        self.assertEqual(process.wait(), 0)

    def test_its_end_is_the_end_of_both_streams(self):
        exec_id = self.router.start("sh", "-c", "echo x; exit 2", pty_info=info())
        with self.within(5):
            self.assertEqual((self.router.read(exec_id), self.router.read(exec_id, ERR)), (b"x\r\n", b""))
            self.assertEqual(self.router.wait(exec_id), 2)

    def test_what_is_typed_twice_is_typed_once(self):
        exec_id = self.router.start("sh", "-c", "stty -echo; echo ready; read line; echo got $line", pty_info=info())
        self.router.read_at(exec_id, 0, count=len("ready\r\n"))
        for data in (b"one", b"one", b"one two\n"):
            self.router.write(exec_id, 0, data)
        self.assertEqual(self.router.read(exec_id), b"ready\r\ngot one two\r\n")

    def test_who_leaves_it_leaves_it_running(self):
        sandbox, router = self.connect()
        process = sandbox.exec("sh", "-c", "echo $$; read line; echo got $line", pty=True)
        pid = int(next(iter(process.stdout)))
        exec_id = process_id(process)
        router.close()
        self.assertTrue(alive(pid))
        self.router.write(exec_id, 0, b"this\n")
        self.assertIn(b"got this\r\n", self.router.read(exec_id))


if __name__ == "__main__":
    unittest.main()
