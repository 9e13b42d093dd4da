"""Sweeps by Hydra's own launcher and by those of other packages."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bit_equality import differences
from vesalius.sweeps.other_launchers import other_launcher

SMALL = ["data.source.patients=24", "data.source.slices=1", "data.source.image_size=28", "logger=none"]
SMALL += ["evaluation.baselines=false", "trainer=cpu"]
PLUGINS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "submitit_local": "hydra_plugins.hydra_submitit_launcher"}


@pytest.mark.parametrize(
    ("arguments", "launcher"),
    [
        (["-m", "seed=0,1"], None),
        (["-m", "hydra/launcher=vesalius", "seed=0,1"], None),
        (["seed=0", "hydra/launcher=joblib"], None),
        (["--multirun", "hydra/launcher=joblib"], "joblib"),
        (["-m", "hydra/launcher=vesalius", "hydra/launcher=basic"], "basic"),
    ],
)
def test_another_launcher_is_noticed_in_sweeps_only(arguments, launcher):
    assert other_launcher(arguments) == launcher


def sweep(place, *arguments):
    command = [sys.executable, "-m", "vesalius.cli", "train", "-m", *SMALL, *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)


def has_plugin(launcher):
    return launcher not in PLUGINS or importlib.util.find_spec(PLUGINS[launcher]) is not None


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_its_jobs_are_runs_like_others_and_those_that_are_done_are_kept(tmp_path, launcher):
    if not has_plugin(launcher):
        pytest.skip(f"pip install hydra-{launcher.removesuffix('_local')}-launcher")
    arguments = [f"hydra/launcher={launcher}", "hydra.sweep.dir=there", "resume=auto"]
    one = sweep(tmp_path, "trainer.max_epochs=1", *arguments, "seed=0")
    assert one.returncode == 0, one.stderr
    assert "resume=auto" in one.stderr
    began = (tmp_path / "there" / "0" / "state.json").read_text()
    both = sweep(tmp_path, "trainer.max_epochs=1", *arguments, "seed=0,1")
    assert both.returncode == 0, both.stderr
    assert (tmp_path / "there" / "0" / "state.json").read_text() == began
    ours = sweep(tmp_path, "trainer.max_epochs=1", "seed=0,1", "hydra.sweep.dir=here")
    assert ours.returncode == 0, ours.stderr
    for number in ("0", "1"):
        assert differences(tmp_path / "there" / number, tmp_path / "here" / number) == []


@pytest.mark.slow
def test_a_stopped_job_goes_on_and_a_bad_one_ends_the_command_and_not_the_others(tmp_path):
    long = ["hydra/launcher=basic", "hydra.sweep.dir=there", "resume=auto", "trainer.max_epochs=40", "seed=0,1"]
    command = [sys.executable, "-m", "vesalius.cli", "train", "-m", *SMALL, *long]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not (tmp_path / "there" / "0" / "history.csv").exists():
        assert first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 130
    again = sweep(tmp_path, *long)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "there" / "0" / "state.json").read_text())["attempt"] == 2
    bad = sweep(tmp_path, "hydra/launcher=basic", "hydra.sweep.dir=bad", "trainer.max_epochs=1", "data.batch_size=0,64")
    assert bad.returncode == 1
    assert (tmp_path / "bad" / "1" / "metrics.json").exists()
