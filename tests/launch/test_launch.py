"""The process of a run, and one inside another, as `vesalius gain` has them: a signal reaches each once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# What stands in for the command line, for `gain`, and for its training with another rank, by the folder's name.
CODE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from vesalius.launch import launch
from vesalius.runs.run_folder import Interrupted
from vesalius.launch.worker import enter

def train(path):
    if "DEAF" in os.environ:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    rank = subprocess.Popen(["sleep", "60"])
    (path / ".pids").write_text(f"{os.getppid()} {os.getpid()} {rank.pid}")
    (path / ".pids").rename(path / "pids")
    try:
        time.sleep(60)
    except Interrupted:
        time.sleep(0.3)
        rank.kill()
        (path / "saved").touch()
        raise

code, path = sys.argv[1], Path(sys.argv[2])
launch.work_command = lambda verb, folder: [sys.executable, "-c", code, code, str(folder)]
if path.name == "train":
    sys.exit(enter(train, [str(path)]))
if path.name == "gain":
    sys.exit(enter(lambda path: launch.launch("train", {}, [], path / "train"), [str(path)]))
sys.exit(launch.launch(sys.argv[3], {}, [], path / sys.argv[3])[0])
"""


def begin(place, inside, **environment):
    """The command line, which leads a group as one that a terminal's shell starts; waits until there is a training."""
    training = place / inside / ("train" if inside == "gain" else "")
    command = [sys.executable, "-c", CODE, CODE, str(place), inside]
    process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    wait_until((training / "pids").exists)
    return process, training


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid):
    """Whether a process has ended; what nobody has asked about is a zombie."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def test_one_ctrl_c_lets_the_training_of_gain_save(tmp_path):
    process, training = begin(tmp_path, "gain")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=30) == 130
    assert (training / "saved").exists()


def test_a_second_ctrl_c_ends_the_training_of_gain_and_its_ranks(tmp_path):
    process, training = begin(tmp_path, "gain", DEAF="1")
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    wait_until(lambda: all(gone(pid) for pid in (training / "pids").read_text().split()))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process that its parent has died")
def test_a_run_whose_command_line_is_killed_saves_and_ends(tmp_path):
    process, training = begin(tmp_path, "train")
    process.kill()
    process.wait()
    wait_until((training / "saved").exists)
    wait_until(lambda: gone((training / "pids").read_text().split()[1]))
