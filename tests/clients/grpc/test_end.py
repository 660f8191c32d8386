"""The agent's own end, while sessions run: each is told how its program ended, then that the agent is gone."""

import signal
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import DEADLINE, WAYS, Agent, Stream, alive

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class End(unittest.TestCase):
    def setUp(self):
        self.agent = Agent("--tls-self-signed")
        self.addCleanup(self.agent.discard)

    def stop(self):
        self.agent.process.send_signal(signal.SIGTERM)

    def test_how_programs_end_is_told_before(self):
        channels = [self.agent.channel(way) for way in WAYS]
        sessions = []
        for channel in channels:
            self.addCleanup(channel.close)
            for script, tty, code, printed in [
                ("echo up $$; exec sleep 1000", False, 143, ""),
                ("echo up $$; exec sleep 1000", True, 129, ""),
                ("trap 'echo last words; exit 7' TERM; echo up $$; read forever", False, 7, "last words\n"),
                # What a terminal that is gone would show, nobody sees.
                ("trap 'exit 8' HUP; echo up $$; read forever", True, 8, ""),
                ("trap '' TERM; echo up $$; exec sleep 1000", False, 137, ""),
            ]:
                stream = Stream(channel).sh(script, tty=tty)
                self.addCleanup(stream.cancel)
                sessions.append((stream, int(stream.see("\n").split()[1]), code, printed))
        idle = Stream(channels[0])
        self.addCleanup(idle.cancel)
        done = Stream(channels[0]).start("true")
        self.addCleanup(done.cancel)
        self.assertEqual(done.exited(), 0)
        watch = health_pb2_grpc.HealthStub(channels[1]).Watch(health_pb2.HealthCheckRequest())
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        self.stop()
        for stream, pid, code, printed in sessions:
            with self.subTest(code=code):
                self.assertEqual(stream.over(), UNAVAILABLE)
                self.assertEqual(stream.kinds(), ["started", "stdout", "exited"])
                self.assertEqual(stream.statuses()[-1].status.exit_code, code)
                self.assertEqual(stream.text().replace("\r", ""), f"up {pid}\n{printed}")
                self.assertFalse(alive(pid))
        for stream in (idle, done):
            self.assertEqual(stream.over(), UNAVAILABLE)
        # Whoever watches hears at most that it is over, and keeps nobody from ending.
        try:
            self.assertTrue(all(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING for answer in watch))
        except grpc.RpcError as error:
            self.assertIn(error.code(), (UNAVAILABLE, grpc.StatusCode.UNKNOWN))
        self.assertEqual(self.agent.process.wait(DEADLINE), 0, self.agent.said())
        self.assertNotIn("panicked", self.agent.said())

    def test_all_output_is_told_before(self):
        channel = self.agent.channel()
        self.addCleanup(channel.close)
        stream = Stream(channel).sh("trap 'seq 1 200000; exit 5' TERM; echo up; read forever")
        self.addCleanup(stream.cancel)
        stream.see("up\n")
        self.stop()
        self.assertEqual(stream.over(), UNAVAILABLE)
        self.assertEqual(stream.statuses()[-1].status.exit_code, 5)
        self.assertEqual(stream.text().split("\n"), ["up", *map(str, range(1, 200_001)), ""])

    def test_a_client_that_reads_nothing_does_not_keep_it(self):
        channel = self.agent.channel()
        self.addCleanup(channel.close)
        held = Stream(channel)
        self.addCleanup(held.cancel)
        held.changed.acquire()  # its reader stands still from its first message on
        try:
            held.start("sh", "-c", "while :; do echo something; done")
            self.stop()
            self.assertEqual(self.agent.process.wait(DEADLINE), 0)
        finally:
            held.changed.release()

    def test_a_killed_agent_is_told_by_the_lost_connection(self):
        channel = self.agent.channel()
        self.addCleanup(channel.close)
        stream = Stream(channel).sh("echo up $$; exec sleep 1000")
        self.addCleanup(stream.cancel)
        stream.see("up")
        self.agent.process.kill()
        self.agent.process.wait()
        self.assertIn(stream.over(), (UNAVAILABLE, grpc.StatusCode.UNKNOWN))


if __name__ == "__main__":
    unittest.main()
