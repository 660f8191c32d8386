"""Tests of python.py, with the Python that runs them: `python3 -m unittest test_python`."""
import json, os, subprocess, sys, tempfile, unittest  # noqa: E401

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "python.py"), encoding="utf-8") as file:
    PROGRAM = file.read()

SOURCES = [
    ("import numpy as np, os.path, a.b.c", ["a.b.c", "numpy"]),
    ("from google.cloud import storage, bigquery", ["google.cloud.bigquery", "google.cloud.storage"]),
    ("from . import x\nfrom .y import z", []),
    ("#!/usr/bin/python3\n# -*- coding: latin-1 -*-\nimport PIL.Image", ["PIL.Image"]),
    ("\ufeffimport bom", ["bom"]),
    ("try:\n import ujson as json\nexcept ImportError:\n import yaml", ["yaml"]),
    ("try:\n import json\nexcept ModuleNotFoundError:\n import simplejson", []),
    ("try:\n import a\n a.run()\nexcept Exception:\n pass", ["a"]),
    ("try:\n import a\nexcept:\n a = None", []),
    ("with suppress(ImportError):\n import a", []),
    ("if TYPE_CHECKING:\n import a\nelse:\n import b", ["b"]),
    ("if not typing.TYPE_CHECKING:\n import a", ["a"]),
    ("if sys.platform == 'win32':\n import winapi\nelif sys.version_info >= (3, 8):\n import new", ["new"]),
    ("def f():\n class C:\n  async def g():\n   import inner", ["inner"]),
    ("import _private, données", []),
    ("import own, script, lib.part, space.inner, src_own", []),
    ("import docker, space.other", ["docker", "space.other"]),
]
BROKEN = [
    ("import a\nprint 1", "line 2: "),
    ("a\0b", "null bytes"),
    ("\ud800", "surrogates"),
    ("(" * 100000, "nested"),
    ("-" * 100000 + "1", "nested"),
    ("#" * 2000000, "over 1048576 bytes"),
]
NO_CRASH = ["1+" * 400000 + "1", "if a: pass\n" + "elif a:0\n" * 100000, "if " + "sys.platform+" * 50000 + "1: import a"]


class Test(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = os.path.join(self.folder.name, "root")
        for path in ["own.py", "lib/__init__.py", "space/inner.py", "docker/Dockerfile", "src/src_own.py", "app/script.py"]:
            self.write(path, "")

    def write(self, path, content):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def run_program(self, **order):
        order = json.dumps({"root": self.root, "file": None, "ignored": [], **order}).encode()
        command = [sys.executable, "-I", "-S", "-c", PROGRAM]
        return subprocess.run(command, input=order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def ask(self, **order):
        done = self.run_program(**order)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.decode("utf-8"))

    def test_sources(self):
        for source, imports in SOURCES:
            with self.subTest(source=source):
                answer = self.ask(file={"path": "app/main.py", "content": source})
                self.assertEqual(answer, {"imports": imports, "unread": []})

    def test_broken_sources_are_told(self):
        for source, why in BROKEN:
            with self.subTest(source=source[:20]):
                answer = self.ask(file={"path": "app/main.py", "content": source})
                self.assertEqual(answer["imports"], [])
                self.assertIn(why, answer["unread"][0]["why"])
                self.assertEqual(answer["unread"][0]["path"], "app/main.py")

    def test_deep_sources_end_nothing(self):
        for source in NO_CRASH:
            with self.subTest(source=source[:20]):
                self.ask(file={"path": "app/main.py", "content": source})

    def test_a_module_is_not_its_own_import(self):
        self.write("shop/celery.py", "from celery import Celery")
        self.assertEqual(self.ask()["imports"], ["celery"])

    def test_walk(self):
        for path in [".venv/a.py", "env/pyvenv.cfg", "env/b.py", "x/site-packages/c.py", "dist/d.py", "data/e.py", "f.txt"]:
            self.write(path, "import unwanted")
        self.write("sub/sp ace.py", "import found")
        self.write("latin.py", b"# coding: latin-1\nx = '\xe9'\nimport latin1_found")
        self.write("bad.py", b"# coding: nonsense\n")
        self.write(os.fsdecode(b"odd-\xff.py"), "import")
        os.symlink("..", os.path.join(self.root, "sub", "loop"))
        os.symlink("/etc/passwd", os.path.join(self.root, "link.py"))
        os.mkfifo(os.path.join(self.root, "pipe.py"))
        answer = self.ask(ignored=["data/"])
        self.assertEqual(answer["imports"], ["found", "latin1_found"])
        self.assertEqual([each["path"] for each in answer["unread"]], ["bad.py", "odd-?.py"])

    def test_too_many_files(self):
        for number in range(30):
            self.write(f"many/m{number}.py", "(")
        answer = self.ask(most_files=25)
        self.assertEqual(len(answer["unread"]), 20)
        self.assertEqual(answer["unread"][0]["why"], "more than 25 files: the rest was not looked at")

    def test_wrong_orders(self):
        os.symlink("/etc", os.path.join(self.root, "etc"))
        for path in ["../../etc/passwd", "/etc/passwd", "etc/passwd", "a\0b", "", ".", "none.py", "lib", 5]:
            with self.subTest(path=path):
                done = self.run_program(file={"path": path, "content": None})
                self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), done)
        for root in ["relative", "/none", None, "/\0"]:
            self.assertEqual(self.run_program(root=root).returncode, 1)


if __name__ == "__main__":
    unittest.main()
