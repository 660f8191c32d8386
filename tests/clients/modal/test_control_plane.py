"""The helper that points the SDK at an agent: what its own text shows, and what it does not have."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

import modal
from modal.exception import ConflictError, NotFoundError, UnimplementedError

import control_plane
from support import NEW, SANDBOX, TOKEN, Case, connected, new_only

HELPER = pathlib.Path(control_plane.__file__)


class ControlPlane(Case):
    def url(self):
        return f"{'http' if NEW else 'https'}://127.0.0.1:{self.agent.port}/#token={TOKEN}"

    def python(self, program, **env):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_TOKEN")}
        return subprocess.run(
            [sys.executable, "-B", "-c", program], env={**clean, **env}, capture_output=True, text=True, timeout=30,
        )

    def test_the_example_in_its_own_text(self):
        example = re.search(r"\n\n((?:    .*\n|\n)+)", control_plane.__doc__)[1].replace("\n    ", "\n").strip()
        self.assertIn("uname", example)
        done = self.python(re.sub(r'"http://[^"]*"', repr(self.url()), example))
        self.assertEqual((done.returncode, done.stdout.split()[0]), (0, os.uname().sysname), done.stderr)

    def test_as_a_program_of_its_own(self):
        with subprocess.Popen([sys.executable, "-B", HELPER, self.url()], stdout=subprocess.PIPE, text=True) as helper:
            self.addCleanup(helper.kill)
            url = helper.stdout.readline().strip()
            self.assertRegex(url, r"^http://127\.0\.0\.1:\d+$")
            program = f"import modal; print(modal.Sandbox.from_id({SANDBOX!r}).exec('echo', 'hello').stdout.read())"
            done = self.python(program, MODAL_SERVER_URL=url, MODAL_TOKEN_ID="ak-x", MODAL_TOKEN_SECRET="as-x")
            self.assertEqual(done.stdout.strip(), "hello", done.stderr)
            helper.terminate()
            self.assertEqual(helper.wait(10), 0)

    def test_no_url_of_an_agent(self):
        wrong = ("127.0.0.1:4560", "http://h:4560", "http://h:4560/#token=", "unix:/s#token=x", "http://[::1]:1/#token=x")
        for url in wrong:
            with self.assertRaisesRegex(ValueError, "#token=TOKEN"), control_plane.serve(url):
                pass
        done = subprocess.run([sys.executable, "-B", HELPER, "elsewhere"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 2)
        self.assertIn("#token=TOKEN", done.stderr)

    def test_a_token_is_read_as_the_agent_writes_it(self):
        answers = control_plane.Answers("https://box.example/#x=1&token=a%2Fb+c%3D", None)
        self.assertEqual((answers.url({}), answers.token), ("https://box.example", "a/b+c="))

    def test_what_it_sets_is_as_before_when_it_is_over(self):
        before = dict(os.environ)
        with control_plane.run(self.url()) as url:
            self.assertEqual(os.environ["MODAL_SERVER_URL"], url)
        self.assertEqual(dict(os.environ), before)

    def test_a_sandbox_always_runs(self):
        self.assertIsNone(self.sandbox.poll())

    def test_what_it_does_not_have_is_named(self):
        with self.within(2), self.assertRaisesRegex(UnimplementedError, "SandboxTerminate"):
            self.sandbox.terminate()

    def test_two_tokens_are_two_worlds(self):
        with connected(self.agent, sandbox_id="sb-1111111111111111111111") as other:
            self.assertEqual(other.exec("echo", "other").stdout.read(), "other\n")

    @new_only
    def test_a_sandbox_of_the_second_kind(self):
        # Its id is any other than 22 letters and digits, and all is asked for by other names.
        with connected(self.agent, sandbox_id="sb-01K0000000000000000000000000000V") as other:
            self.assertEqual(other.exec("echo", "other").stdout.read(), "other\n")
            self.assertIsNone(other.poll())

    def test_secrets_are_written_below_what_is_there(self):
        self.agent.secrets.write_text('# mine\n["st-mine"]\nA = "mine"\n')
        with control_plane.run(self.url(), str(self.agent.secrets)):
            client = modal.Client.from_credentials("ak-x", "as-x")
            try:
                secret = modal.Secret.from_dict({"B": "b"}).hydrate(client=client)
            finally:
                client.__exit__(None, None, None)
        text = self.agent.secrets.read_text()
        self.assertTrue(text.startswith('# mine\n["st-mine"]\nA = "mine"\n'), text)
        self.assertIn(f'["{secret.object_id}"]\n"B" = "b"\n', text)
        self.assertEqual([path.name for path in self.agent.folder.glob("secrets*")], ["secrets.toml"])
        exec_id = self.router.start("sh", "-c", "echo $A $B", secret_ids=["st-mine", secret.object_id])
        self.assertEqual(self.router.read(exec_id), b"mine b\n")

    def test_a_secret_that_nobody_wrote_down(self):
        with self.within(2), self.assertRaisesRegex((NotFoundError, ConflictError), "st-nobody"):
            self.sandbox.exec("true", secrets=[modal.Secret.from_name("nobody")])


if __name__ == "__main__":
    unittest.main()
