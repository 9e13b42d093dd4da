import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.launch.template import Template, can_fork

HELPERS = Path(__file__).parents[1] / "helpers"
pytestmark = pytest.mark.skipif(not can_fork(), reason="forks of a process with threads are safe on Linux only")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{HELPERS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **more} | {
        "VESALIUS_PARENT": str(os.getpid())
    }


@pytest.fixture
def start(tmp_path):
    template = Template()

    def begin(name: str, end: str, **more: str):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "end").write_text(end)
        command = [sys.executable, "-m", "forked_job", str(folder)]
        with (folder / "console").open("a+b") as console:
            return template.start(command, environment(**more), console), folder

    return begin


def wait_for(condition, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)
    return found


def ended(job) -> int:
    wait_for(lambda: job.poll() is not None)
    return job.returncode


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_jobs_are_forks_of_one_process_with_all_else_their_own(start):
    jobs = [start(name, "", SLOT=name) for name in ("a", "b")]
    assert [ended(job) for job, _ in jobs] == [0, 0]
    first, second = (json.loads((folder / "seen.json").read_text()) for _, folder in jobs)
    assert first["imported_by"] == second["imported_by"] not in (first["pid"], second["pid"])
    for seen, (job, folder) in zip((first, second), jobs, strict=True):
        assert seen["pid"] == seen["session"] == job.pid
        assert seen["environment"]["SLOT"] == folder.name
        assert seen["arguments"][1:] == [str(folder)]
        assert seen["main"] == "forked_job"  # what Lightning starts as further ranks
        assert (folder / "console").read_text().split() == ["out", "err"]
    assert first["drawn"] != second["drawn"]


def test_the_end_of_each_job_is_known(start):
    jobs = {end: start(end, end)[0] for end in ("fail", "kill", "wait")}
    wait_for((Path(start("last", "")[1]).parent / "wait" / "waits").is_file)
    jobs["wait"].send_signal(signal.SIGTERM)
    assert {end: ended(job) for end, job in jobs.items()} == {"fail": 1, "kill": -signal.SIGKILL, "wait": 143}
    jobs["wait"].send_signal(signal.SIGKILL)  # of one that has ended: nothing


def test_jobs_end_with_the_process_they_are_forked_from_and_the_next_one_starts(start):
    job, folder = start("first", "wait")
    wait_for((folder / "waits").is_file)
    os.kill(json.loads((folder / "seen.json").read_text())["imported_by"], signal.SIGKILL)
    assert ended(job) == -signal.SIGKILL  # its own exit code is lost
    assert ended(start("second", "")[0]) == 0


def test_where_that_process_dies_as_a_job_starts_another_one_is_begun(start, monkeypatch):
    first, folder = start("first", "")
    assert ended(first) == 0
    before, sending = json.loads((folder / "seen.json").read_text())["imported_by"], socket.send_fds

    def kill_and_send(*arguments):
        monkeypatch.undo()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: not runs(before))
        return sending(*arguments)

    monkeypatch.setattr("vesalius.launch.template.socket.send_fds", kill_and_send)
    second, folder = start("second", "")
    assert ended(second) == 0
    assert json.loads((folder / "seen.json").read_text())["imported_by"] != before


def test_an_end_is_known_that_comes_with_the_note_of_the_start():
    template = Template()
    template._socket, other = socket.socketpair()
    other.sendall(b"[7, null]\n[7, 3]\n")
    assert template._next_start().poll() == 3


def test_jobs_end_with_the_sweep(tmp_path):
    (tmp_path / "end").write_text("wait")
    code = (
        "import sys; from vesalius.launch.child import child_environment\n"
        "from vesalius.launch.template import Template\n"
        f"job = Template().start(['-m', 'forked_job', {str(tmp_path)!r}], child_environment(), None)\n"
        "print(job.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    sweep = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(sweep.stdout.readline())
    wait_for((tmp_path / "waits").is_file)
    template = json.loads((tmp_path / "seen.json").read_text())["imported_by"]
    sweep.kill()
    sweep.communicate()
    try:
        wait_for(lambda: not runs(pid) and not runs(template))
    finally:
        for left in (pid, template):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
