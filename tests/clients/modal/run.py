"""Runs each file of tests as a process of its own, two at a time: Python's with both versions of the SDK, then Node's.

Arguments are names of tests as unittest takes them (`test_exec`, `test_exec.Exec.test_echo`), with `old.` or `new.` in
front for one version only, or names of Node's files (`exec.test.mjs`); without any, all run.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
VENVS = HERE.parents[2] / "target" / "modal-clients"
AT_ONCE = 2

# These begin first, so that none of them runs alone at the end.
SLOW = ("test_chaos", "test_large", "test_resume")
# These would try nothing else with the old version, or cannot.
NEW_ONLY = {"test_chaos", "test_doors", "test_large", "test_stream"}


def jobs(names):
    """Commands by what they are called."""
    if not names:
        stems = [path.stem for path in HERE.glob("test_*.py")]
        names = sorted(stems, key=lambda stem: (stem not in SLOW, stem))
        names += sorted(path.name for path in HERE.glob("*.test.mjs"))
    found = {}
    for name in names:
        if name.endswith(".mjs"):
            found[name] = ["node", "--test", "--test-timeout=60000", "--test-reporter=spec", name]
            continue
        version, _, test = name.partition(".")
        versions = [version] if version in ("old", "new") else ["new", "old"]
        test = test if version in ("old", "new") else name
        for version in versions:
            if version == "new" or test.partition(".")[0] not in NEW_ONLY:
                found[f"{version}.{test}"] = [VENVS / version / "bin/python", "-B", "-m", "unittest", "--verbose", test]
    return found


def run(command):
    # Nothing of whoever runs this may turn the SDK elsewhere.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    env |= {"PYTHONPATH": str(HERE), "MODAL_CONFIG_PATH": os.devnull, "CONTROL_PLANE_PYTHON": sys.executable}
    began = time.monotonic()
    done = subprocess.run(command, cwd=HERE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout, time.monotonic() - began


def main():
    failed = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(run, command): name for name, command in jobs(sys.argv[1:]).items()}
        for future in concurrent.futures.as_completed(waiting):
            status, said, seconds = future.result()
            print(f"{said}== {waiting[future]}: {seconds:.1f} s", flush=True)
            if status != 0:
                failed.append(waiting[future])
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
