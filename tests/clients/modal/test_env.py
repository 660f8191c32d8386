"""Variables: the ways in which the two versions say them, in which order they count, and secrets nobody has."""

import unittest

import modal
from modal.exception import ConflictError, NotFoundError

from support import TOKEN, Case, api_pb2, new_only

SHOW = ("sh", "-c", "echo $A,$B,$C")


class Env(Case):
    def setUp(self):
        super().setUp()
        self.agent.secrets.write_text(
            '["st-one"]\nA = "one"\nB = "one"\n["st-two"]\nB = "two"\nC = "two words"\n', encoding="utf-8",
        )

    def shown(self, **fields):
        return self.router.read(self.router.start(*SHOW, **fields)).decode()

    def test_what_is_said_with_the_command(self):
        # In the old version a secret of the control plane, in the new one a part of the request.
        process = self.sandbox.exec(*SHOW, env={"A": "a  b", "B": "", "C": "'\"\\$grüße\n\t日本", "D": None})
        self.assertEqual(process.stdout.read(), "a b,,'\"\\$grüße 日本\n")

    def test_the_very_bytes(self):
        value = "'\"\\ $grüße\n\t日本\x7f\x01 = [x] # \u2028"
        process = self.sandbox.exec("printenv", "A", env={"A": value})
        self.assertEqual(process.stdout.read(), value + "\n")

    def test_secrets_made_here_and_the_last_one_counts(self):
        secrets = [modal.Secret.from_dict({"A": "1", "B": "1"}), modal.Secret.from_dict({"B": "2", "C": "2"})]
        self.assertEqual(self.sandbox.exec(*SHOW, secrets=secrets).stdout.read(), "1,2,2\n")
        self.assertEqual(self.sandbox.exec(*SHOW, secrets=secrets[::-1]).stdout.read(), "1,1,2\n")
        self.assertEqual(self.sandbox.exec(*SHOW, secrets=secrets, env={"C": "3"}).stdout.read(), "1,2,3\n")

    def test_secrets_that_have_a_name(self):
        one, two = (modal.Secret.from_name(name) for name in ("one", "two"))
        self.assertEqual(self.sandbox.exec(*SHOW, secrets=[one, two]).stdout.read(), "one,two,two words\n")
        self.assertEqual(self.sandbox.exec(*SHOW, secrets=[two, one]).stdout.read(), "one,one,two words\n")
        process = self.sandbox.exec(*SHOW, secrets=[two, one], env={"B": "3"})
        self.assertEqual(process.stdout.read(), "one,3,two words\n")

    def test_ids_as_the_first_version_has_them(self):
        self.assertEqual(self.shown(secret_ids=["st-one", "st-two"]), "one,two,two words\n")
        self.assertEqual(self.shown(secret_ids=["st-two", "st-one"]), "one,one,two words\n")

    @new_only
    def test_ids_and_values_as_the_newest_has_them(self):
        one, two = (api_pb2.SecretSource(secret_id=name) for name in ("st-one", "st-two"))
        said = api_pb2.SecretSource(env=api_pb2.StringMap(contents={"B": "said"}))
        self.assertEqual(self.shown(secret_sources=[one, two]), "one,two,two words\n")
        self.assertEqual(self.shown(secret_sources=[one, said, two]), "one,two,two words\n")
        self.assertEqual(self.shown(secret_sources=[one, two, said]), "one,said,two words\n")

    @new_only
    def test_values_as_versions_between_have_them(self):
        self.assertEqual(self.shown(env={"A": "x", "B": "y"}), "x,y,\n")
        self.assertEqual(self.shown(secret_ids=["st-one"], env={"B": "y"}), "one,y,\n")

    def test_the_file_is_read_again(self):
        self.assertEqual(self.shown(secret_ids=["st-one"]), "one,one,\n")
        self.agent.secrets.write_text('["st-one"]\nA = "new"\n')
        self.assertEqual(self.shown(secret_ids=["st-one"]), "new,,\n")

    def test_a_secret_that_nobody_has_is_named_at_once(self):
        mark = self.agent.root / "ran"
        for ids in (["st-nobody"], ["st-one", "st-nobody"]):
            with self.assertRaisesRegex((NotFoundError, ConflictError), "st-nobody"), self.within(2):
                self.router.start("touch", str(mark), secret_ids=ids)
        with self.assertRaisesRegex((NotFoundError, ConflictError), "st-nobody"), self.within(2):
            self.sandbox.exec("touch", str(mark), secrets=[modal.Secret.from_name("nobody")])
        self.assertFalse(mark.exists())

    def test_a_file_that_cannot_be_read_stops_only_who_needs_it(self):
        for text in ("this is not TOML", '["st-one"]\nA = ["no", "text"]\n'):
            self.agent.secrets.write_text(text)
            with self.assertRaises((NotFoundError, ConflictError)) as raised, self.within(2):
                self.router.start("true", secret_ids=["st-one"])
            self.assertNotIn("no\", \"text", str(raised.exception), "a message tells no secret")
            self.assertEqual(self.sandbox.exec("echo", "still here").stdout.read(), "still here\n")

    def test_a_file_that_is_gone_is_named(self):
        self.agent.secrets.unlink()
        with self.assertRaisesRegex((NotFoundError, ConflictError), "secrets.toml"), self.within(2):
            self.router.start("true", secret_ids=["st-one"])
        self.assertEqual(self.sandbox.exec("echo", "still here").stdout.read(), "still here\n")

    def test_no_secret_is_in_the_log(self):
        self.agent.secrets.write_text('["st-one"]\nA = "a-very-secret-value"\n')
        self.assertEqual(self.shown(secret_ids=["st-one"]), "a-very-secret-value,,\n")
        self.assertNotIn("a-very-secret-value", self.agent.said())

    def test_the_agents_own_variables_are_not_there(self):
        everything = self.sandbox.exec("env").stdout.read()
        self.assertNotIn(TOKEN, everything)
        self.assertNotIn("PID1_", everything)
        self.assertIn("PATH=", everything)
        self.assertIn(f"HOME={self.agent.home}", everything)


if __name__ == "__main__":
    unittest.main()
