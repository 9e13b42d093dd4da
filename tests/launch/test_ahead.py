"""A verb's process that imports while the config is composed: it does the work of a fresh one, or it goes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.launch import ahead
from vesalius.launch.worker import PARENT

CODE = """
import sys
from vesalius.launch.worker import enter, leave

def work(folder):
    (folder / "arguments").write_text(" ".join(sys.argv[1:]))

leave(enter(work, sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    monkeypatch.setattr(ahead, "work_command", lambda verb, folder: [sys.executable, "-c", CODE, folder])


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def test_it_works_on_the_folder_as_if_its_argument_had_named_it(tmp_path: Path) -> None:
    with ahead.started_ahead("train", ["seed=1"]) as process:
        child = process.take("train", tmp_path)
        assert process.take("train", tmp_path) is None
    assert child.wait(timeout=30) == 0
    assert (tmp_path / "arguments").read_text() == str(tmp_path)


def test_without_a_folder_it_is_gone(tmp_path: Path) -> None:
    with ahead.started_ahead("train", []) as process:
        pid = process._process.pid
        assert not gone(pid)
    deadline = time.monotonic() + 10  # it is killed, and not waited for
    while not gone(pid):
        assert time.monotonic() < deadline


def test_with_the_one_that_started_it_it_is_gone(tmp_path: Path) -> None:
    (reading, writing) = os.pipe()
    started = subprocess.Popen([sys.executable, "-c", CODE, f"pipe:{reading}"], pass_fds=[reading])
    os.close(reading)
    os.close(writing)
    assert started.wait(timeout=30) == 143


@pytest.mark.parametrize("change", ["variable", "folder", "verb"])
def test_where_something_has_changed_a_fresh_process_is_needed(tmp_path: Path, monkeypatch, change: str) -> None:
    with ahead.started_ahead("train", []) as process:
        pid = process._process.pid
        if change == "variable":  # as `hydra.job.env_set` sets them
            monkeypatch.setenv("OMP_NUM_THREADS", "7")
        if change == "folder":
            monkeypatch.chdir(tmp_path)
        assert process.take("evaluate" if change == "verb" else "train", tmp_path) is None
        assert gone(pid)  # or it would hold its memory while the fresh one works


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["seed=1", "--help"], ["-m", "seed=0,1"]])
def test_no_process_is_started_for_flags(arguments: list[str]) -> None:
    with ahead.started_ahead("train", arguments) as process:
        assert process is None


@pytest.mark.parametrize("variables", [{PARENT: "1"}, {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "2"}])
def test_inside_another_run_and_among_ranks_no_process_is_started(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with ahead.started_ahead("train", []) as process:
        assert process is None


def test_leaving_flushes_and_runs_what_was_registered(tmp_path: Path) -> None:
    code = (
        "import atexit, sys; from vesalius.launch.worker import leave\n"
        "atexit.register(lambda: print('registered')); print('printed'); leave(7)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (7, "printed\nregistered\n")
