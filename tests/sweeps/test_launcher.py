"""What the launcher does while jobs run."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from hydra_plugins.vesalius_launcher import launcher as module
from hydra_plugins.vesalius_launcher.launcher import VesaliusLauncher, VesaliusLauncherConf
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SweepFolder, SweepJob


@pytest.fixture
def events():
    return []


@pytest.fixture
def launcher(tmp_path, monkeypatch, events):
    """A launcher whose configs cost nothing; `seed=9` cannot be composed."""

    def compose(master, overrides):
        events.append(f"compose {overrides[0]}")
        if overrides == ["seed=9"]:
            raise ConfigCompositionException("no such seed")
        return OmegaConf.create({"hydra": {"job": {}}})

    def create(config, **_):
        folder = RunFolder.create(tmp_path / str(config.hydra.job.num), {}, [])
        return SimpleNamespace(_return_value=folder, return_value=folder)

    monkeypatch.setattr(module, "run_job", create)
    options = {key: value for key, value in asdict(VesaliusLauncherConf()).items() if key != "_target_"}
    launcher = VesaliusLauncher(**options)
    launcher.hydra_context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=compose))
    launcher.task_function, launcher.config, launcher.path = None, None, tmp_path
    return launcher


def run_one_by_one(launcher, events):
    """As the scheduler does with one slot: it prepares a job, and ticks while it runs."""

    def run(jobs, done, tick, known):
        for number, overrides in jobs:
            events.append(f"free for {number}")
            try:
                folder = launcher._prepare(number, overrides)
            except InputError:
                events.append(f"refuse {number}")
            else:
                for _ in range(3):
                    tick({number: folder.path})
            done(SweepJob(number, tuple(overrides), launcher.path / str(number), "done"))

    return run


def test_the_config_of_the_next_job_is_composed_while_one_runs(launcher, events, tmp_path, monkeypatch):
    SweepFolder.create(tmp_path, verb="train", arguments=[], axes={}, sweeper="basic")
    monkeypatch.setattr(launcher, "_run", run_one_by_one(launcher, events))
    launcher.launch([["seed=0"], ["seed=1"], ["seed=2"]], 0)
    composed = ["compose seed=0", "compose seed=1", "free for 1", "compose seed=2", "free for 2"]
    assert events == ["free for 0", *composed]


def test_a_config_that_cannot_be_composed_is_refused_in_its_turn(launcher, events, tmp_path, monkeypatch):
    SweepFolder.create(tmp_path, verb="train", arguments=[], axes={}, sweeper="basic")
    monkeypatch.setattr(launcher, "_run", run_one_by_one(launcher, events))
    launcher.launch([["seed=0"], ["seed=9"], ["seed=2"]], 0)
    assert events[:3] == ["free for 0", "compose seed=0", "compose seed=9"]
    assert events[3:] == ["free for 1", "compose seed=9", "refuse 1", "free for 2", "compose seed=2"]


def test_of_several_slots_the_one_that_waits_is_composed_once(launcher, events, tmp_path, monkeypatch):
    """Two jobs run, the later one ends first, and nothing waits behind the third."""
    SweepFolder.create(tmp_path, verb="train", arguments=[], axes={}, sweeper="basic")

    def run(jobs, done, tick, known):
        started = []
        for _ in range(2):
            started.append(next(jobs))
            launcher._prepare(*started[-1])
        for _ in range(3):
            tick({0: tmp_path / "0", 1: tmp_path / "1"})
        started.append(next(jobs))
        launcher._prepare(*started[-1])
        tick({0: tmp_path / "0", 2: tmp_path / "2"})
        tick({0: tmp_path / "0"})
        for number, overrides in started:
            done(SweepJob(number, tuple(overrides), tmp_path / str(number), "done"))

    monkeypatch.setattr(launcher, "_run", run)
    launcher.launch([["seed=0"], ["seed=1"], ["seed=2"]], 0)
    assert events == ["compose seed=0", "compose seed=1", "compose seed=2"]


def test_a_job_of_an_earlier_attempt_is_not_composed(launcher, events, tmp_path, monkeypatch):
    SweepFolder.create(tmp_path, verb="train", arguments=[], axes={}, sweeper="basic")
    (tmp_path / "1").mkdir()

    def run(jobs, done, tick, known):
        for number, overrides in jobs:
            tick({number: tmp_path / str(number)})
            done(SweepJob(number, tuple(overrides), tmp_path / str(number), "done"))

    monkeypatch.setattr(launcher, "_run", run)
    launcher.launch([["seed=0"], ["seed=1"], ["seed=2"]], 0)
    assert events == ["compose seed=2"]
