"""Slots of this machine: who gets what, and that nothing outlives its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.config.errors import InputError
from vesalius.launch.child import child_environment
from vesalius.launch.worker import PARENT
from vesalius.sweeps.local_pool import LAST_LINES, JobPool, make_slots, visible_gpus


def sh(text):
    return ["sh", "-c", text]


def wait_for(pool, count=1):
    ended, deadline = [], time.monotonic() + 20
    while len(ended) < count:
        assert time.monotonic() < deadline
        ended += pool.ended()
        time.sleep(0.01)
    return sorted(ended, key=lambda one: one.number)


def gone(pid):
    """Whether a process has ended; what nobody has asked about is a zombie."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def wait_until_gone(pid):
    deadline = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_slots_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert make_slots(3, environ={}) == [{"OMP_NUM_THREADS": "5"}] * 3
    assert make_slots(3, ranks=2, environ={}) == [{"OMP_NUM_THREADS": "2"}] * 3
    assert make_slots(40, environ={})[0] == {"OMP_NUM_THREADS": "1"}
    assert make_slots(1, environ={}) == [{}]  # as a run alone
    assert make_slots(4, environ={"OMP_NUM_THREADS": "2"}) == [{}] * 4
    assert make_slots(4, threads=3, environ={"OMP_NUM_THREADS": "2"})[0] == {"OMP_NUM_THREADS": "3"}


def test_slots_have_gpus_of_their_own():
    environ = {"CUDA_VISIBLE_DEVICES": "4,5, 7,GPU-a1", "OMP_NUM_THREADS": "1"}
    slots = make_slots(2, gpus_per_job=2, environ=environ)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["4,5", "7,GPU-a1"]
    assert all("CUDA_VISIBLE_DEVICES" not in slot for slot in make_slots(2, environ=environ))


def test_too_few_gpus_are_refused_with_what_fits():
    environ = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    with pytest.raises(InputError, match=r"take 4 GPUs, and 3 are visible: set hydra\.launcher\.n_jobs=1"):
        make_slots(2, gpus_per_job=2, environ=environ)
    with pytest.raises(InputError, match="gpus_per_job=0"):
        make_slots(1, gpus_per_job=4, environ=environ)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2,-1,1"}) == ["2"]  # CUDA reads no further
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,0,1"}) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []


def test_all_bad_numbers_are_named():
    with pytest.raises(InputError) as caught:
        make_slots(0, gpus_per_job=-1, threads=0, environ={})
    assert [problem.split("=")[0] for problem in caught.value.problems] == [
        "hydra.launcher.n_jobs",
        "hydra.launcher.gpus_per_job",
    ]


def test_a_job_runs_in_a_free_slot_and_frees_it_at_its_end(tmp_path):
    pool = JobPool([{"SLOT": "a"}, {"SLOT": "b"}], consoles=True)
    for number, text in enumerate(["echo $SLOT; exit 3", "sleep 30"]):
        (tmp_path / str(number)).mkdir()
        assert pool.free
        pool.start(number, sh(text), tmp_path / str(number))
    assert not pool.free
    (ended,) = wait_for(pool)
    assert (ended.number, ended.code, ended.last_lines) == (0, 3, ["a"])
    assert pool.free
    pool.start(2, sh("echo $SLOT"), tmp_path / "0")
    (ended,) = wait_for(pool)
    assert (ended.number, ended.last_lines) == (2, ["a", "a"])  # the log of an earlier attempt stays
    pool.stop(signal.SIGTERM)
    (ended,) = wait_for(pool)
    assert ended.code == -signal.SIGTERM
    assert pool.ended() == []


def test_the_last_lines_are_kept_though_the_folder_is_gone(tmp_path):
    (tmp_path / "0").mkdir()
    pool = JobPool([{}], consoles=True)
    pool.start(0, sh(f"seq 100; printf 'bar 1\\rbar 2\\n' >&2; rm -r {tmp_path / '0'}"), tmp_path / "0")
    (ended,) = wait_for(pool)
    assert len(ended.last_lines) == LAST_LINES
    assert ended.last_lines[-3:] == ["100", "bar 1", "bar 2"]


@pytest.mark.parametrize("how", ["kill", "its first process dies"])
def test_nothing_that_a_killed_job_started_lives_on(tmp_path, how):
    pool, note = JobPool([{}], consoles=False), tmp_path / "pid"
    pool.start(0, sh(f"sleep 60 & echo $! > {note}.new; mv {note}.new {note}; wait"), tmp_path)
    while not note.exists():
        time.sleep(0.01)
    rank = int(note.read_text())
    if how == "kill":
        pool.kill()
    else:
        pool.stop(signal.SIGKILL)
    (ended,) = wait_for(pool)
    assert ended.code == -signal.SIGKILL
    wait_until_gone(rank)


@pytest.mark.parametrize("code", [0, 130])
def test_a_slot_is_free_when_the_last_rank_has_ended_and_no_rank_is_waited_for_for_ever(tmp_path, monkeypatch, code):
    monkeypatch.setattr("vesalius.sweeps.local_pool.RANKS_GRACE", 3.0)
    pool = JobPool([{}, {}, {}], consoles=False)
    for number, sleep in enumerate((1, 60)):
        pool.start(number, sh(f"sleep {sleep} & echo $! > {tmp_path / str(number)}; exit {code}"), tmp_path)
    began = time.monotonic()
    pool.start(2, sh("exit 0"), tmp_path)
    assert [ended.number for ended in wait_for(pool)] == [2]  # it does not wait for the others
    assert pool.free
    (soon,) = wait_for(pool)
    assert (soon.number, soon.code) == (0, code)
    assert gone(int((tmp_path / "0").read_text()))
    (late,) = wait_for(pool)
    assert (late.number, late.code) == (1, code)
    assert 3 <= time.monotonic() - began < 10
    wait_until_gone(int((tmp_path / "1").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process that its parent has died")
def test_ranks_end_with_rank_0_and_that_with_its_sweep(tmp_path):
    """Three generations, each started as the next one would be; the first is killed."""
    code = (
        "import os, subprocess, sys, time\n"
        "from vesalius.launch.worker import enter\n"
        "def work(path):\n"
        "    depth = len(list(path.iterdir()))\n"
        "    (path / str(os.getpid())).touch()\n"
        "    if depth < 1: subprocess.Popen([sys.executable, '-c', sys.argv[2], str(path), sys.argv[2]])\n"
        "    time.sleep(60)\n"
        "sys.exit(enter(work, sys.argv[1:2]))\n"
    )
    starter = (
        "import subprocess, sys, time\n"
        "from vesalius.sweeps.local_pool import child_environment\n"
        "subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], env=child_environment())\n"
        "time.sleep(60)\n"
    )
    place = tmp_path / "pids"
    place.mkdir()
    sweep = subprocess.Popen([sys.executable, "-c", starter, code, str(place), code])
    deadline = time.monotonic() + 20
    while len(list(place.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sweep.kill()
    sweep.wait()
    while not all(gone(path.name) for path in place.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_whose_parent_died_meanwhile_does_nothing(tmp_path):
    code = (
        "import sys; from vesalius.launch.worker import enter\n"
        f"sys.exit(enter(lambda path: (path / 'worked').touch(), [{str(tmp_path)!r}]))"
    )
    environment = child_environment() | {PARENT: "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 143
    assert not (tmp_path / "worked").exists()
    assert child_environment({"A": "b"})["A"] == "b"
    assert child_environment()[PARENT] == str(os.getpid())
