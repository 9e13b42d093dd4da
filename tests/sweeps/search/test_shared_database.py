import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from postgresql import running_postgresql, server_programs
from sweep_of_a_search import POINTS

HELPERS = Path(__file__).parents[2] / "helpers"


@pytest.mark.slow
@pytest.mark.skipif(server_programs() is None, reason="PostgreSQL is not installed")
def test_two_sweeps_at_once_share_a_search_on_postgresql_and_one_that_is_killed_loses_nothing(tmp_path):
    with running_postgresql() as storage:

        def begin(name: str) -> subprocess.Popen[bytes]:
            path = f"{HELPERS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
            command = [sys.executable, "-m", "sweep_of_a_search", str(tmp_path / name), storage]
            return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})

        def folders(name: str) -> set[int]:
            return {int(path.name) for path in (tmp_path / name).glob("[0-9]*")}

        sweeps = {name: begin(name) for name in ("one", "two")}
        deadline = time.monotonic() + 120
        while not (len(folders("one")) >= 2 and len(folders("two")) >= 2):
            assert time.monotonic() < deadline
            assert [sweep.poll() for sweep in sweeps.values()] == [None, None]
            time.sleep(0.01)
        sweeps["one"].kill()
        sweeps["one"].wait()
        assert sweeps["two"].wait(timeout=120) == 0
        trials = optuna.load_study(study_name="shared", storage=storage).trials
        assert len(trials) == POINTS
        # A trial belongs to its sweep from the moment it is drawn, before it has a folder.
        left = [trial for trial in trials if trial.state.name == "RUNNING"]
        assert len(left) <= 1
        assert {trial.user_attrs["sweep"] for trial in left} <= {str(tmp_path / "one")}
        assert begin("one").wait(timeout=120) == 0
        trials = optuna.load_study(study_name="shared", storage=storage).trials
        assert sorted(trial.params["x"] for trial in trials) == list(range(POINTS))
        assert {trial.state.name for trial in trials} == {"COMPLETE"}
        assert folders("one") | folders("two") == set(range(POINTS))
        assert not folders("one") & folders("two")
