"""Compiles the repository's proto/, then runs each file of tests as a process of its own, two at a time.

Arguments are names of tests as unittest takes them (`test_exec`, `test_exec.Exec.test_order`); without any, all run.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc_tools
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"
AT_ONCE = 2

# These begin first, so that none of them runs alone at the end.
SLOW = {"test_buf", "test_bytes", "test_cuts", "test_silence"}


def compile_into(folder):
    own = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = [str(path.relative_to(PROTO)) for path in sorted(PROTO.rglob("*.proto"))]
    flags = [f"--proto_path={PROTO}", f"--proto_path={own}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *flags, *files]) != 0:
        sys.exit("cannot compile proto/")


def run(names, generated):
    # Children are started by many threads here, so gRPC must not try to survive a fork.
    more = {"PYTHONPATH": f"{generated}:{HERE}", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", "-m", "unittest", "--verbose", *names],
        cwd=HERE, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    return done.returncode, done.stdout, time.monotonic() - began


def main():
    names = sorted((path.stem for path in HERE.glob("test_*.py")), key=lambda name: (name not in SLOW, name))
    jobs = [sys.argv[1:]] if len(sys.argv) > 1 else [[name] for name in names]
    failed = False
    with tempfile.TemporaryDirectory(prefix="pid1-grpc-proto-") as generated:
        compile_into(generated)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = {pool.submit(run, job, generated): job for job in jobs}
            for future in concurrent.futures.as_completed(waiting):
                status, said, seconds = future.result()
                print(f"{said}== {' '.join(waiting[future])}: {seconds:.1f} s", flush=True)
                failed = failed or status != 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
