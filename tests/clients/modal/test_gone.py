"""An agent that is killed in the middle and started again: its programs are gone, and everybody is told."""

import threading
import time
import unittest

from modal.exception import NotFoundError

from support import MIB, Agent, Case, Router, connected, eventually, new_mark, noise, process_id, running


class Gone(Case):
    @classmethod
    def setUpClass(cls):
        pass  # an agent for each test

    def setUp(self):
        super().setUp()
        self.agent = Agent()
        self.addCleanup(self.agent.stop)
        self.sandbox = self.enterContext(connected(self.agent))
        self.router = Router(self.sandbox)
        self.mark = new_mark()

    def kill_and_start(self):
        self.agent.kill()
        self.agent.start()

    def caught(self, function):
        """Does it in a thread, and gives a function that waits for what it raised."""
        raised = []

        def work():
            try:
                raised.append(function())
            except BaseException as error:
                raised.append(error)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def outcome():
            thread.join(30)
            self.assertFalse(thread.is_alive(), "it hangs")
            return raised[0]
        return outcome

    def test_in_the_middle_of_everything(self):
        # Deaf to everything that is polite, and in the middle of output, of input, and of nothing.
        ignore = "trap '' TERM HUP INT; : $0; "
        talks = self.sh(ignore + "while :; do head -c 1000000 /dev/zero; done", self.mark, text=False)
        listens = self.sh(ignore + "while :; do head -c 100000 >/dev/null; done", self.mark, text=False)
        waits = self.sh(ignore + "sleep 1000", self.mark)
        output = iter(talks.stdout)
        taken = len(next(output))

        def read():
            nonlocal taken
            for piece in output:
                taken += len(piece)

        def write():
            for _ in range(1000):
                listens.stdin.write(noise(4 * MIB))
                listens.stdin.drain()

        outcomes = [self.caught(work) for work in (read, write, waits.wait, talks.wait)]
        eventually(lambda: taken > 4 * MIB, "it is in the middle")
        self.kill_and_start()
        for outcome in outcomes:
            self.assertIsInstance(outcome(), NotFoundError)
        eventually(lambda: not running(self.mark), "the old programs are gone")
        for process in (talks, listens, waits):
            with self.within(2), self.assertRaises(NotFoundError):
                self.router.poll(process_id(process))
        # And it goes on with the same sandbox and the same SDK.
        self.assertEqual(self.sandbox.exec("echo", "hello").stdout.read(), "hello\n")

    def test_what_had_ended_is_forgotten_too(self):
        exec_id = self.router.start("echo", "hello")
        self.assertEqual(self.router.wait(exec_id), 0)
        self.kill_and_start()
        for request in (self.router.poll, self.router.wait, self.router.read):
            with self.assertRaises(NotFoundError):
                request(exec_id)
        # So the same id is a new run.
        self.assertEqual(self.router.start("sh", "-c", "exit 3", exec_id=exec_id), exec_id)
        self.assertEqual(self.router.wait(exec_id), 3)

    def test_an_agent_that_is_told_to_end_ends_with_its_programs(self):
        process = self.sh("echo ready; : $0; exec sleep 1000", self.mark)
        self.assertEqual(next(iter(process.stdout)), "ready\n")
        waiting = self.caught(process.wait)
        began = time.monotonic()
        self.agent.process.terminate()
        self.assertEqual(self.agent.process.wait(20), 0)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(running(self.mark), [])
        self.kill_and_start()
        # Either it was told in time how the program ended, or it asks the next one.
        outcome = waiting()
        self.assertTrue(outcome in (129, 143, 137) or isinstance(outcome, NotFoundError), outcome)


if __name__ == "__main__":
    unittest.main()
