"""Sessions of ExecService: their order, ends, input, terminals and environment, and several on one stream."""

import os
import pwd
import unittest

import grpc

import exec_service_pb2 as pb
from support import STARTED, WAYS, Case, alive, encode, eventually


def is_start(message):
    return message.WhichOneof("payload") == "status" and message.status.status == STARTED


class Ways(Case):
    args = ("--tls-self-signed",)

    def test_a_session_over_every_way(self):
        for way in WAYS:
            with self.subTest(way):
                stream = self.stream(self.connect(way)).sh("cat; echo err >&2; exit 7", session_id="mine")
                self.assertEqual(stream.started(), "mine")
                stream.type("to cat")
                stream.eof()
                self.assertEqual(stream.exited(), 7)
                self.assertEqual((stream.text(), stream.stderr), ("to cat", b"err\n"))
                stream.half_close()
                self.assertEqual(stream.over(), grpc.StatusCode.OK)


class Exec(Case):
    env = {"FROM_OUTSIDE": "outside"}

    def run_once(self, *command, **fields):
        stream = self.stream().start(*command, **fields)
        code = stream.exited()
        return code, stream.text()

    def test_order(self):
        stream = self.stream().sh("echo one; sleep 0.1; echo two", session_id="order")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.kinds(), ["started", "stdout", "exited"])
        self.assertTrue(all(message.session_id == "order" for message in stream.messages))
        first, last = stream.messages[0].status, stream.messages[-1].status
        self.assertEqual((first.exit_code, first.error_message, last.error_message), (0, "", ""))

    def test_stderr_has_its_label_and_comes_before_the_end(self):
        # Stdout is closed long before the last of stderr is written.
        stream = self.stream().sh("echo out; exec >&-; sleep 0.2; echo late >&2; head -c 300000 /dev/zero >&2")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.kinds(), ["started", "stdout", "stderr", "exited"])
        self.assertEqual(bytes(stream.stdout), b"out\n")
        self.assertEqual(bytes(stream.stderr), b"late\n" + bytes(300_000))

    def test_pieces_of_output_are_at_most_64_kib(self):
        stream = self.stream().sh("head -c 2000000 /dev/zero")
        self.assertEqual(stream.exited(), 0)
        self.assertLessEqual(max(len(message.output_data.data) for message in stream.messages), 65536)
        self.assertEqual(len(stream.stdout), 2_000_000)

    def test_stdin_eof(self):
        stream = self.stream().sh("cat; echo end")
        stream.type("first ")
        stream.see("first ")
        stream.type("second")
        for _ in range(3):
            stream.eof()
        stream.type("dropped")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.text(), "first secondend\n")

    def test_stdin_eof_is_nothing_on_a_terminal(self):
        stream = self.stream().start("cat", tty=True)
        stream.eof()
        stream.type("still\n")
        stream.see("still\r\nstill\r\n")
        stream.type(b"\x04")
        self.assertEqual(stream.exited(), 0)

    def test_ends(self):
        for script, code in [
            ("exit 0", 0), ("exit 7", 7), ("exit 255", 255),
            ("kill -9 $$", 137), ("kill -15 $$", 143), ("kill -1 $$", 129), ("ulimit -c 0; kill -11 $$", 139),
        ]:
            for tty in (False, True):
                with self.subTest(script, tty=tty):
                    self.assertEqual(self.run_once("sh", "-c", script, tty=tty)[0], code)

    def test_what_cannot_be_run_ends_as_in_a_shell(self):
        (self.agent.root / "plain").write_text("not executable\n")
        (self.agent.root / "no-interpreter").write_text("#!/does/not/exist\n")
        (self.agent.root / "no-interpreter").chmod(0o755)
        for program, code in [
            ("no-such-program", 127), ("./missing", 127), ("./plain", 126), ("/etc", 126), ("./no-interpreter", 127),
        ]:
            for tty in (False, True):
                with self.subTest(program, tty=tty):
                    stream = self.stream().start(program, "argument", session_id="s", tty=tty)
                    self.assertEqual(stream.exited(), code)
                    self.assertEqual(stream.kinds(), ["started", "stdout" if tty else "stderr", "exited"])
                    self.assertIn(program.encode(), stream.stdout if tty else stream.stderr)
                    # It was no failure of the call: the next starts.
                    stream.start("true")
                    self.assertEqual(stream.exited(2), 0)

    def test_a_folder_that_is_not_there(self):
        stream = self.stream().start("true", working_dir="missing")
        self.assertIn(stream.exited(), (126, 127))
        self.assertIn(b"missing", bytes(stream.stderr))

    def test_commands(self):
        for command, printed in [
            (("echo", "a b", "", "*"), "a b  *\n"),
            (("echo one | tr a-z A-Z",), "ONE\n"),
            (("printf", "%s|", "ü", "日本"), "ü|日本|"),
        ]:
            self.assertEqual(self.run_once(*command), (0, printed))
        shell = self.stream().start()
        shell.type("echo $0; exit 4\n")
        self.assertEqual(shell.exited(), 4)
        self.assertEqual(shell.text(), "/bin/sh\n")

    def test_a_container_is_any_name(self):
        for name in ("sbox-1", "0a1b2c", "any/thing"):
            self.assertEqual(self.run_once("echo", name, container_id=name), (0, f"{name}\n"))
        # With a name, a word with a blank is a program's name, as `docker exec` has it.
        self.assertEqual(self.run_once("echo one", container_id="box")[0], 127)

    def test_env_working_dir_and_instance_id(self):
        (self.agent.root / "a folder").mkdir(exist_ok=True)
        script = 'echo "$ADDED|$FROM_OUTSIDE|${TERM-none}|${PID1_TOKEN-none}"; pwd'
        env = {"ADDED": "ünï = 'x'\n2"}
        told = self.run_once("sh", "-c", script, env=env, working_dir="a folder", instance_id="instance-1")
        self.assertEqual(told, (0, f"ünï = 'x'\n2|outside|none|none\n{self.agent.root}/a folder\n"))
        self.assertEqual(self.run_once("pwd", working_dir="/usr"), (0, "/usr\n"))
        self.assertEqual(self.run_once("sh", "-c", "echo ${ADDED-unset}; pwd"), (0, f"unset\n{self.agent.root}\n"))

    def test_user(self):
        me = pwd.getpwuid(os.getuid())
        who = ("sh", "-c", "echo $(id -u):$(id -g)")
        for user in (me.pw_name, str(me.pw_uid), f"{me.pw_uid}:{me.pw_gid}"):
            self.assertEqual(self.run_once(*who, user=user), (0, f"{me.pw_uid}:{me.pw_gid}\n"), user)
        nobody = pwd.getpwnam("nobody")
        for user in ("nobody", str(nobody.pw_uid), f"nobody:{nobody.pw_gid}"):
            stream = self.stream().start(*who, user=user, working_dir="/")
            if os.getuid() == 0:
                self.assertEqual(stream.exited(), 0, user)
                self.assertEqual(stream.text(), f"{nobody.pw_uid}:{nobody.pw_gid}\n", user)
            else:
                # Never as somebody who was not asked for.
                self.assertTrue(stream.error())
        self.assertTrue(self.stream().start("true", user="no-such-user").error())

    def test_a_terminal(self):
        # The last are its group and the one in front on its terminal.
        script = "tty; stty size; echo $TERM; echo err >&2; cut -d' ' -f5,8 /proc/$$/stat"
        stream = self.stream().sh(script, tty=True, rows=40, cols=120)
        self.assertEqual(stream.exited(), 0)
        device, size, term, err, groups = stream.text().split("\r\n")[:5]
        self.assertRegex(device, "^/dev/pts/")
        self.assertEqual((size, term, err), ("40 120", "xterm", "err"))
        self.assertEqual(len(set(groups.split())), 1, "it is in front")
        self.assertEqual(stream.kinds(), ["started", "stdout", "exited"])
        named = self.run_once("sh", "-c", "echo $TERM", tty=True, env={"TERM": "screen"})
        self.assertEqual(named, (0, "screen\r\n"))

    def test_sizes_that_are_none(self):
        for rows, cols, size in [(0, 0, "24 80"), (-1, 7, "24 7"), (5, 0, "5 80"), (1 << 30, 1, "65535 1")]:
            self.assertEqual(self.run_once("stty", "size", tty=True, rows=rows, cols=cols), (0, f"{size}\r\n"))

    def test_resize(self):
        stream = self.stream().sh("stty size; while read line; do stty size; done", tty=True, rows=40, cols=120)
        stream.see("40 120\r\n")
        stream.resize(10, 20)
        stream.type("look\n")
        stream.see("look\r\n10 20\r\n")
        for rows, cols in [(0, 5), (5, 0), (-1, -1)]:
            stream.resize(rows, cols)
        stream.type("again\n")
        stream.see("again\r\n10 20\r\n")
        stream.type(b"\x04")
        self.assertEqual(stream.exited(), 0)

    def test_a_resize_is_told_to_the_program(self):
        stream = self.stream().sh("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done", tty=True)
        stream.see("ready")
        stream.resize(33, 44)
        stream.see("33 44\r\n")

    def test_resize_without_a_terminal_is_ignored(self):
        stream = self.stream().start("cat")
        stream.started()
        stream.resize(10, 20)
        stream.type("x")
        stream.eof()
        self.assertEqual((stream.exited(), stream.text()), (0, "x"))

    def test_keys_of_a_terminal(self):
        stream = self.stream().sh("trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done", tty=True)
        stream.see("ready")
        stream.type(b"\x03")
        stream.see("caught")
        stream.type(b"\x1c")
        self.assertEqual(stream.exited(), 131)

    def test_before_a_start_everything_else_is_ignored(self):
        stream = self.stream()
        stream.type("too early\n")
        stream.resize(1, 1)
        stream.eof()
        stream.send()
        stream.send(output_data=pb.ExecOutputData(data=b"not a client's"))
        stream.send(status=pb.ExecStatusResponse(status=2, exit_code=9))
        stream.sh("stty size; read line; echo $line", tty=True)
        stream.see("24 80\r\n")
        stream.type("in time\n")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.text(), "24 80\r\nin time\r\nin time\r\n")

    def test_what_is_not_known_is_ignored(self):
        # Field 15 as bytes, as a number, and one of a number that has two bytes: beside a payload and alone.
        unknown = bytes.fromhex("7a03787878" + "7805" + "8a0100")
        start = pb.ExecMessage(session_id="s", start_request=pb.ExecStartRequest(command=["cat"]))
        typed = pb.ExecMessage(input_data=pb.ExecInputData(data=b"through"))
        stream = self.stream()
        for data in [unknown, b"", encode(start) + unknown, b"", unknown, unknown + encode(typed), encode(typed)]:
            stream.send_bytes(data)
        stream.eof()
        self.assertEqual((stream.exited(), stream.text()), (0, "throughthrough"))
        self.assertEqual(stream.kinds(), ["started", "stdout", "exited"])

    def test_what_is_no_message_ends_the_call_and_no_other(self):
        other = self.stream().start("cat")
        stream = self.stream().sh("echo $$; exec sleep 1000")
        pid = int(stream.see("\n"))
        stream.send_bytes(b"\x0a\xff")
        self.assertEqual(stream.over(), grpc.StatusCode.INVALID_ARGUMENT)
        eventually(lambda: not alive(pid), "its program is ended")
        other.type("here")
        other.see("here")

    def test_the_numbers_on_the_wire(self):
        for message, wire in [
            (pb.ExecMessage(session_id="a"), "0a0161"),
            (pb.ExecMessage(start_request=pb.ExecStartRequest()), "1200"),
            (pb.ExecMessage(input_data=pb.ExecInputData(data=b"\x00\xff")), "1a040a0200ff"),
            (pb.ExecMessage(resize=pb.ExecResizeRequest(rows=40, cols=120)), "220408281078"),
            (pb.ExecMessage(output_data=pb.ExecOutputData(stream_type=1, data=b"x")), "2a050801120178"),
            (pb.ExecMessage(status=pb.ExecStatusResponse(status=2, exit_code=137, error_message="e")), "320808021089011a0165"),
            (pb.ExecMessage(stdin_eof=pb.ExecStdinEof()), "3a00"),
        ]:
            self.assertEqual(message.SerializeToString().hex(), wire)
        start = pb.ExecStartRequest(
            container_id="c", command=["d"], tty=True, rows=1, cols=2, env={"e": "f"}, working_dir="g", user="h", instance_id="i"
        )
        wire = "0a0163" "120164" "1801" "2001" "2802" "32060a0165120166" "3a0167" "420168" "4a0169"
        self.assertEqual(start.SerializeToString().hex(), wire)

    def test_the_agent_chooses_a_session_id_where_none_is_given(self):
        chosen = set()
        for _ in range(20):
            stream = self.stream().start("true")
            stream.exited()
            [one] = {message.session_id for message in stream.messages}
            self.assertRegex(one, "^[1-9a-f][0-9a-f]{0,15}$")
            chosen.add(one)
        self.assertEqual(len(chosen), 20)

    def test_a_session_id_in_later_messages_is_not_looked_at(self):
        stream = self.stream().start("cat", session_id="right")
        stream.send(session_id="wrong", input_data=pb.ExecInputData(data=b"typed"))
        stream.send(session_id="other", stdin_eof=pb.ExecStdinEof())
        self.assertEqual((stream.exited(), stream.text()), (0, "typed"))
        self.assertEqual({message.session_id for message in stream.messages}, {"right"})

    def test_a_session_id_that_is_too_long_is_an_error_and_the_stream_goes_on(self):
        stream = self.stream().start("true", session_id="x" * 257)
        self.assertIn("256", stream.error())
        self.assertEqual(stream.messages[0].session_id, "")
        self.assertEqual(stream.messages[0].status.exit_code, 0)
        stream.start("true", session_id="y" * 256)
        self.assertEqual((stream.started(), stream.exited()), ("y" * 256, 0))

    def test_what_cannot_be_a_program_is_an_error_and_the_stream_goes_on(self):
        stream = self.stream()
        for count, fields in enumerate([
            {"command": ["a\0b"]}, {"command": ["true"], "env": {"A=B": "x"}}, {"command": ["true"], "working_dir": "a\0b"},
        ], 1):
            stream.send(session_id="s", start_request=pb.ExecStartRequest(**fields))
            self.assertTrue(stream.error(count))
        stream.start("true")
        self.assertEqual(stream.exited(), 0)

    def test_after_the_end_the_stream_is_free_for_another(self):
        stream = self.stream()
        for count in range(1, 6):
            # The same name again and again.
            stream.sh(f"echo {count}; exit {count}", session_id="again")
            self.assertEqual(stream.exited(count), count)
        self.assertEqual(stream.text(), "1\n2\n3\n4\n5\n")
        self.assertEqual({message.session_id for message in stream.messages}, {"again"})
        stream.type("to nobody")
        stream.half_close()
        self.assertEqual(stream.over(), grpc.StatusCode.OK)

    def test_a_second_start_replaces_what_runs(self):
        for second in ("first", "second"):
            stream = self.stream().sh("echo $$; while :; do echo first; sleep 0.01; done", session_id="first")
            pid = int(stream.see("first\n").split("\n")[0])
            stream.sh("echo replaced; cat", session_id=second)
            self.assertEqual(stream.started(2), second)
            stream.see("replaced\n")
            eventually(lambda: not alive(pid), "the first is gone")
            stream.type("for the second")
            stream.eof()
            self.assertEqual(stream.exited(), 0)
            [_, again] = [at for at, message in enumerate(stream.messages) if is_start(message)]
            after = stream.messages[again + 1:]
            printed = b"".join(message.output_data.data for message in after)
            self.assertEqual(printed, b"replaced\nfor the second", "nothing of the first comes after the new start")
            ends = [message.status.status for message in stream.statuses()]
            self.assertEqual(ends, [0, 0, 2], "the end of the first is not told")

    def test_a_start_that_comes_to_nothing_replaces_too(self):
        stream = self.stream().sh("echo $$; exec sleep 1000")
        pid = int(stream.see("\n"))
        stream.start("no-such-program")
        self.assertEqual(stream.exited(), 127)
        eventually(lambda: not alive(pid), "the first is gone")

    def test_one_session_id_on_two_streams_at_once(self):
        one, two = (self.stream().start("cat", session_id="same") for _ in range(2))
        self.assertEqual((one.started(), two.started()), ("same", "same"))
        one.type("for one")
        two.type("for two")
        one.see("for one")
        two.see("for two")
        one.eof()
        self.assertEqual(one.exited(), 0)
        two.type("!")
        two.eof()
        self.assertEqual(two.exited(), 0)
        self.assertEqual((one.text(), two.text()), ("for one", "for two!"))

    def test_an_idle_stream_is_kept(self):
        unused, quiet = self.stream(), self.stream().start("cat")
        quiet.started()
        # Another session takes its time meanwhile.
        self.assertEqual(self.run_once("sleep", "4")[0], 0)
        self.assertEqual((unused.status, unused.messages), (None, []))
        unused.start("echo", "late")
        self.assertEqual((unused.exited(), unused.text()), (0, "late\n"))
        quiet.type("awake")
        quiet.see("awake")

    def test_what_is_left_in_the_background_with_the_output_holds_the_end_back(self):
        stream = self.stream().sh("(sleep 0.3; echo late) & echo early")
        self.assertEqual(stream.exited(), 0)
        self.assertEqual(stream.text(), "early\nlate\n")


if __name__ == "__main__":
    unittest.main()
