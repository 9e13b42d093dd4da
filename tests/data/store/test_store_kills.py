"""A store that was killed while it was built is built again, to the byte, whatever the moment.

One interpreter has all imports done and forks a child for each build, so that a build starts in milliseconds and dozens
can be killed within seconds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORKS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np, pandas as pd
from vesalius.data.store import build as store_build
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store

COUNT = 100
GENERATOR = np.random.default_rng(0)

class Slow(Source):
    task, classes = "binary", ("a", "b")

    def __init__(self, series):
        self.series = series
        shape = (3, 1, 16, 16) if series else (1, 16, 16)
        self.arrays = GENERATOR.integers(0, 256, (COUNT, *shape), dtype=np.uint8)

    def samples(self):
        ids = [f"s{i:03d}" for i in range(COUNT)]
        return pd.DataFrame({"sample_id": ids, "group_id": ids, "target": 0})

    def load(self, row):
        time.sleep(0.001)
        return self.arrays[int(row["sample_id"][1:])]

    def fingerprint(self):
        return "0"

def build(source, folder):
    Store.open(source, source.samples(), cache_dir=folder, memory_limit=0, progress=False)

def child(source, folder, prepare=lambda: None):
    pid = os.fork()
    if pid:
        return pid
    try:
        prepare()
        build(source, folder)
        os._exit(0)
    except BaseException as error:
        print("child:", repr(error), flush=True)
    os._exit(1)

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def content(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and ".part" not in path.parent.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

def undisturbed(source, folder):
    started = time.perf_counter()
    assert ended(child(source, folder)) == 0
    seconds = time.perf_counter() - started
    found = content(folder)
    assert len(found) == 2
    return found, seconds

root = Path(sys.argv[1])
"""

KILLED_AT_RANDOM = """
draw = random.Random(0)
left_work = 0
for series in (False, True):
    source = Slow(series)
    expected, seconds = undisturbed(source, root / f"whole{series}")
    killed = attempt = 0
    while killed < 10:
        attempt += 1
        folder = root / f"{series}{attempt}"
        victim = child(source, folder)
        time.sleep(draw.uniform(0, seconds))
        os.kill(victim, signal.SIGKILL)
        if ended(victim) == 0:
            continue  # it was done before its moment came
        killed += 1
        left_work += bool(list(folder.glob("*.part/images.bin")))
        assert content(folder) in ({}, expected), "a folder stood under its name before it was complete"
        assert ended(child(source, folder)) == 0
        assert content(folder) == expected, f"attempt {attempt} gave other bytes"
print(left_work)
"""

KILLED_AT_EACH_STEP = """
source = Slow(False)
expected, _ = undisturbed(source, root / "whole")

def stop_at(name, call, after):
    def prepare():
        calls, whole = [], getattr(os, name)
        def counted(*arguments, **options):
            calls.append(name)
            if len(calls) == call and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = whole(*arguments, **options)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(os, name, counted)
    return prepare

steps = [(name, call, after) for name, calls in (("mkdir", 2), ("fsync", 2), ("rename", 1))
         for call in range(1, calls + 1) for after in (False, True)]
for number, step in enumerate(steps):
    folder = root / str(number)
    assert ended(child(source, folder, stop_at(*step))) == -signal.SIGKILL, step
    complete = step == ("rename", 1, True)
    assert content(folder) == (expected if complete else {}), step
    assert ended(child(source, folder)) == 0
    assert content(folder) == expected, step
print(len(steps))
"""

SEVERAL_AT_ONCE = """
draw = random.Random(1)
source = Slow(True)
expected, seconds = undisturbed(source, root / "whole")
for attempt in range(4):
    folder = root / str(attempt)
    first, second, victim = (child(source, folder) for _ in range(3))
    time.sleep(draw.uniform(0, seconds))
    os.kill(victim, signal.SIGKILL)
    ended(victim)
    assert [ended(first), ended(second)] == [0, 0]
    assert content(folder) == expected, attempt
print("same")
"""


def forks(program: str, folder: Path) -> list[str]:
    """What a program prints that forks its builds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FORKS + program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_twenty_builds_killed_at_random_moments_end_with_the_same_bytes(tmp_path):
    (left_work,) = forks(KILLED_AT_RANDOM, tmp_path)
    assert int(left_work) >= 5  # killed in the midst of writing


def test_a_build_killed_before_or_after_any_step_ends_with_the_same_bytes(tmp_path):
    assert forks(KILLED_AT_EACH_STEP, tmp_path) == ["10"]


@pytest.mark.slow
def test_processes_at_once_end_with_the_same_bytes_even_if_one_is_killed(tmp_path):
    assert forks(SEVERAL_AT_ONCE, tmp_path) == ["same"]
