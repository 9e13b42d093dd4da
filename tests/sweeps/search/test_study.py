"""A study over cheap made-up jobs: reproducible, killed and resumed, pruned, judged on validation data alone."""

import csv
import itertools
import json
import math
import os
import random
import signal
import statistics
import sys
import time
from types import SimpleNamespace

import optuna
import pytest
import yaml

from fake_jobs import FakeLauncher, numbers_of
from vesalius.config.errors import InputError
from vesalius.runs.sweep_folder import SweepFolder
from vesalius.sweeps.scheduler import end_of_sweep
from vesalius.sweeps.search.journal import JOURNAL, open_journal
from vesalius.sweeps.search.run import run_study
from vesalius.sweeps.search.samplers import Samplers, make_pruner
from vesalius.sweeps.search.space import search_space

SPACE = ["x=interval(-2, 2)", "y=int(interval(0, 4))"]
CONFIG = SimpleNamespace(monitor=SimpleNamespace(name="val/auroc", mode="max"), trainer={"max_epochs": 10})


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch, request):
    """Drawing takes longer than everything else here."""
    if "figures" not in request.node.name:
        monkeypatch.setattr("vesalius.sweeps.search.run.save_study_figures", lambda *_: None)


def bowl(numbers):
    """Best at x=1, y=3."""
    return [1 - (numbers["x"] - 1) ** 2 / 9 - (numbers.get("y", 3) - 3) ** 2 / 40]


def rising(numbers):
    """The better, the better from the start on."""
    return [bowl(numbers)[0] * (epoch + 1) / 10 for epoch in range(10)]


def sweep(path, arguments=SPACE, *, launcher=None, slots=1, **options):
    """A whole sweep; the trials of its study."""
    launcher = launcher or FakeLauncher(path, bowl, slots=slots)
    options = {
        "params": {},
        "n_trials": 12,
        "sampler": "tpe",
        "pruner": "none",
        "objectives": None,
        "storage": None,
        "study_name": None,
        "join": False,
        "seed": 0,
        "timeout": None,
    } | options
    run_study(
        path,
        arguments,
        verb="train",
        slots=launcher.slots,
        compose=lambda _: CONFIG,
        stream=launcher.stream,
        **options,
    )
    return trials_of(path) if options["storage"] is None else None


def trials_of(path):
    return optuna.load_study(study_name="study", storage=open_journal(path / JOURNAL)).trials


def endings(folder):
    """How each attempt at a job ended, but for those that were killed."""
    return json.loads((folder / "state.json").read_text())["endings"]


def told(path):
    return json.loads((path / "sweep.json").read_text())["study"]


def test_equal_seeds_are_equal_and_others_are_not(tmp_path):
    first, again = ([trial.params for trial in sweep(tmp_path / name)] for name in ("first", "again"))
    other = [trial.params for trial in sweep(tmp_path / "other", seed=1)]
    assert first == again
    assert all(here != there for here, there in zip(first, other, strict=True))
    assert len({json.dumps(params) for params in first}) == 12


def test_a_study_killed_at_any_moment_ends_as_if_it_was_not(tmp_path):
    """SIGKILL five times over: distinct trials, none run twice, the same ones as without a kill."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = sweep(whole, launcher=FakeLauncher(whole, rising))
    draw = random.Random(0)
    kills = 0
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                sweep(killed, launcher=FakeLauncher(killed, rising, pause=0.03))
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0.1, 0.5))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    trials = sweep(killed, launcher=FakeLauncher(killed, rising))
    assert kills == 5
    assert [trial.number for trial in trials] == list(range(12))
    assert [trial.params for trial in trials] == [trial.params for trial in expected]
    assert [trial.values for trial in trials] == [trial.values for trial in expected]
    assert {path.name for path in killed.iterdir() if path.is_dir()} == {"study", *map(str, range(12))}
    for trial in trials:
        folder = killed / str(trial.number)
        assert numbers_of(yaml.safe_load((folder / "overrides.yaml").read_text())) == trial.params
        assert json.loads((folder / "metrics.json").read_text())["monitor"]["best"] == trial.value
        assert endings(folder) == ["done"]
        assert trial.intermediate_values == dict(enumerate(rising(trial.params)))


@pytest.mark.parametrize("at", [2, 11])
def test_a_trial_that_was_drawn_by_half_is_drawn_to_its_end(tmp_path, monkeypatch, at):
    """Stopped between the two numbers of a trial that is drawn at random, and of one that TPE draws."""
    expected = [trial.params for trial in sweep(tmp_path / "whole")]
    suggest = optuna.Trial.suggest_int

    def stopped(trial, *arguments, **options):
        if trial.number == at:
            raise KeyboardInterrupt
        return suggest(trial, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "suggest_int", stopped)
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path / "broken")
    assert trials_of(tmp_path / "broken")[at].params == {"x": expected[at]["x"]}
    assert [trial.params for trial in sweep(tmp_path / "broken")] == expected


def test_a_job_that_ended_unheard_is_not_run_again(tmp_path):
    launcher = FakeLauncher(tmp_path, bowl)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, launcher=SimpleNamespace(slots=1, stream=_deaf(launcher, at=3)))
    assert trials_of(tmp_path)[3].state is optuna.trial.TrialState.RUNNING
    trials = sweep(tmp_path)
    assert len(trials) == 12
    assert endings(tmp_path / "3") == ["done"]
    assert trials[3].value == bowl(trials[3].params)[0]


def _deaf(launcher, *, at):
    def stream(jobs, done, tick):
        def hear(job):
            if job.number == at:
                raise KeyboardInterrupt
            done(job)

        launcher.stream(jobs, hear, tick)

    return stream


def test_a_sweep_killed_before_its_study_was_made_begins(tmp_path):
    open_journal(tmp_path / JOURNAL)
    assert len(sweep(tmp_path, n_trials=2)) == 2


def test_a_journal_with_half_a_line_is_read(tmp_path):
    sweep(tmp_path, n_trials=3)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"op_code": 4, "wor')
    assert len(sweep(tmp_path, n_trials=5)) == 5


def test_failed_jobs_fail_their_trials_and_run_again_when_resumed(tmp_path):
    def fragile(numbers):
        if numbers["x"] < 0:
            raise ValueError("the loss became NaN")
        return [math.nan] if numbers["y"] == 0 else bowl(numbers)

    trials = sweep(tmp_path, launcher=FakeLauncher(tmp_path, fragile), sampler="random")
    failed = [trial.number for trial in trials if trial.params["x"] < 0]
    lost = [trial.number for trial in trials if trial.params["x"] >= 0 and trial.params["y"] == 0]
    assert failed
    assert lost
    states = {trial.number: trial.state.name for trial in trials}
    assert {number for number, state in states.items() if state == "FAIL"} == {*failed, *lost}
    assert trials[failed[0]].user_attrs["reason"] == "the loss became NaN"
    again = sweep(tmp_path, sampler="random")
    assert [trial.params for trial in again] == [trial.params for trial in trials]
    assert {trial.number for trial in again if trial.state.name == "FAIL"} == set(lost)
    assert all(again[number].value == bowl(again[number].params)[0] for number in failed)
    assert all(endings(tmp_path / str(number)) == ["done"] for number in failed)


def test_a_resumed_sweep_may_have_more_trials_and_keeps_the_old(tmp_path):
    first = [trial.params for trial in sweep(tmp_path, n_trials=4)]
    more = [trial.params for trial in sweep(tmp_path, n_trials=6)]
    assert more[:4] == first
    assert len(more) == 6
    assert [trial.params for trial in sweep(tmp_path / "whole", n_trials=6)] == more


def test_slots_are_filled_and_never_more(tmp_path):
    launcher = FakeLauncher(tmp_path, rising, slots=3)
    trials = sweep(tmp_path, launcher=launcher)
    assert launcher.most_at_once == 3
    assert [trial.value for trial in trials] == [max(rising(trial.params)) for trial in trials]


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_pruners_stop_the_worse_and_keep_the_best(tmp_path, pruner):
    launcher = FakeLauncher(tmp_path, rising, slots=2)
    trials = sweep(tmp_path, launcher=launcher, pruner=pruner, sampler="random", n_trials=20)
    kept = sweep(tmp_path / "kept", launcher=FakeLauncher(tmp_path / "kept", rising), sampler="random", n_trials=20)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert pruned
    assert max(trial.value for trial in trials if trial.state.name == "COMPLETE") == max(trial.value for trial in kept)
    for trial in pruned:
        epochs = len((tmp_path / str(trial.number) / "history.csv").read_text().splitlines()) - 1
        assert epochs < 10
        assert trial.last_step == epochs - 1
        state = json.loads((tmp_path / str(trial.number) / "state.json").read_text())
        assert state["state"] == "pruned"
        assert "pruner" in state["reason"]


def test_the_median_pruner_follows_its_rule(tmp_path):
    """Given up is who is below the median of the earlier ones at the same epoch; nobody else."""
    trials = sweep(tmp_path, launcher=FakeLauncher(tmp_path, rising), pruner="median", sampler="random", n_trials=15)
    for trial in trials:
        done = [other for other in trials[: trial.number] if other.state.name == "COMPLETE"]
        expected = 10
        for epoch in range(2, 9):
            behind = statistics.median([other.intermediate_values[epoch] for other in done]) if len(done) >= 3 else -1
            if rising(trial.params)[epoch] < behind:
                expected = epoch + 1
                break
        assert len(trial.intermediate_values) == expected


def test_several_objectives_are_read_from_validation_metrics(tmp_path):
    launcher = FakeLauncher(tmp_path, bowl, val=lambda numbers: {"ece": abs(numbers["x"])})
    objectives = [{"name": "auroc", "mode": "max"}, {"name": "ece", "mode": "min"}]
    trials = sweep(tmp_path, launcher=launcher, objectives=objectives)
    assert [trial.values for trial in trials] == [[*bowl(trial.params), abs(trial.params["x"])] for trial in trials]
    front = told(tmp_path)["front"]
    beaten = [
        any(a[0] >= b[0] and a[1] <= b[1] and a != b for a in (other.values for other in trials))
        for b in (trial.values for trial in trials)
    ]
    assert front == [number for number, worse in enumerate(beaten) if not worse]
    with pytest.raises(InputError, match="pruner"):
        sweep(tmp_path / "pruned", objectives=objectives, pruner="median")


def test_an_objective_that_no_run_has_fails_every_trial(tmp_path, capsys):
    trials = sweep(tmp_path, objectives=[{"name": "aurok", "mode": "max"}], n_trials=2)
    assert {trial.state.name for trial in trials} == {"FAIL"}
    assert told(tmp_path)["best"] is None
    for job in range(2):
        SweepFolder(tmp_path).write_job(job, [], state="done")
    assert end_of_sweep(tmp_path) == 1  # though all runs were done
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("no finite value of val/aurok. Did you mean 'val/auroc'?" in line for line in said)


def test_a_metric_is_not_searched_for_its_worst_value(tmp_path):
    for name, mode in (("auroc", "min"), ("val/loss", "max"), ("recall/cyst", "min"), ("ece", "max")):
        with pytest.raises(InputError, match=f"{name} is best at its"):
            sweep(tmp_path / "never", objectives=[{"name": name, "mode": mode}])
    sweep(tmp_path / "mine", objectives=[{"name": "radiance", "mode": "min"}], n_trials=1)  # nobody here knows better


def test_a_grid_runs_each_point_once_in_its_order(tmp_path):
    trials = sweep(tmp_path, ["x=-1,1", "y=range(2, 5)"], sampler="grid", n_trials=None)
    assert [(trial.params["x"], trial.params["y"]) for trial in trials] == [
        (x, y) for x in ("-1", "1") for y in (2, 3, 4)
    ]
    assert told(tmp_path)["best"] == 4


def test_any_sampler_of_optuna_can_be_named_and_is_reproducible(tmp_path):
    chosen = {"_target_": "optuna.samplers.QMCSampler", "scramble": True}
    runs = [[trial.params for trial in sweep(tmp_path / name, sampler=chosen, n_trials=8)] for name in "ab"]
    assert runs[0] == runs[1]
    assert len({params["x"] for params in runs[0]}) == 8


def test_the_best_trial_its_figures_and_its_table_are_told(tmp_path, capsys):
    trials = sweep(tmp_path, ["x=interval(-2, 2)", "z=interval(0, 1)"], n_trials=25, sampler="random")
    best = max(trials, key=lambda trial: trial.value)
    said = capsys.readouterr().out
    assert f"Best trial {best.number} of 25: val/auroc {best.value:.4g} with x={best.params['x']:.4g}" in said
    study = told(tmp_path)
    assert study["best"] == best.number
    assert study["directions"] == ["maximize"]
    assert sum(study["importance"].values()) == pytest.approx(1, abs=1e-3)
    assert study["importance"]["x"] > 0.9  # z changes nothing
    for name in ("history.png", "importance.png"):
        assert (tmp_path / "study" / name).read_bytes()[:4] == b"\x89PNG"
    with (tmp_path / "study" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val/auroc"]) for row in rows] == [trial.value for trial in trials]
    assert [float(row["x"]) for row in rows] == [trial.params["x"] for trial in trials]


def test_every_bad_option_is_named_at_once(tmp_path):
    with pytest.raises(InputError) as error:
        sweep(
            tmp_path / "never",
            sampler="tpee",
            pruner={"_target_": "optuna.pruners.MedianPruner", "n_startup": 3},
            objectives=[{"name": "test/auroc", "mode": "max"}],
            n_trials=0,
        )
    said = "\n".join(error.value.problems)
    for part in ("Did you mean 'tpe'", "n_startup_trials", "test data must not choose", "n_trials=0"):
        assert part in said
    assert not (tmp_path / "never").exists()


def test_what_is_no_choice_at_all_is_refused(tmp_path):
    for sampler in (None, [1], {"seed": 3}):
        with pytest.raises(InputError, match=r"hydra\.sweeper\.sampler=.*: name one of tpe, random, grid"):
            sweep(tmp_path / "never", sampler=sampler)
    with pytest.raises(InputError, match=r"hydra\.sweeper\.seed=-1: at least 0"):
        sweep(tmp_path / "never", seed=-1)
    assert isinstance(make_pruner(None), optuna.pruners.NopPruner)


def test_what_is_no_sampler_or_cannot_be_resumed_is_refused():
    space = search_space(SPACE, {})
    for target, said in (
        ("optuna.pruners.MedianPruner", "no sampler"),
        ("optuna.samplers.BruteForceSampler", "sampler=grid"),
        ("optuna.samplers.TPE", "has no 'TPE'"),
    ):
        with pytest.raises(InputError, match=said):
            Samplers({"_target_": target}, space, 0, parallel=False)
    with pytest.raises(InputError, match="_target_"):
        make_pruner({"n_startup_trials": 3})


def test_a_package_that_a_sampler_lacks_is_named_before_the_first_trial(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(InputError, match="CmaEsSampler needs another package: pip install cmaes"):
        sweep(tmp_path / "never", sampler={"_target_": "optuna.samplers.CmaEsSampler"})
    assert not (tmp_path / "never").exists()


def test_failed_trials_of_a_database_stay_failed_and_say_so(tmp_path, capsys):
    def unlucky(numbers):
        raise ValueError("bad luck")

    url, path = f"sqlite:///{tmp_path / 'mine.sqlite'}", tmp_path / "here"
    for _ in range(2):
        sweep(path, launcher=FakeLauncher(path, unlucky), storage=url, n_trials=2)
    assert endings(path / "0") == ["failed"]
    assert "Trials 0, 1 failed and stay so" in capsys.readouterr().err


def test_a_run_that_never_had_a_number_fails_and_is_not_pruned(tmp_path):
    def curve(numbers):
        return [math.nan] * 10 if numbers["x"] == 4 else rising(numbers)

    launcher = FakeLauncher(tmp_path, curve)
    trials = sweep(tmp_path, ["x=range(0, 5)"], launcher=launcher, pruner="median", sampler="grid", n_trials=None)
    assert trials[4].state.name == "FAIL"
    assert len(trials[4].intermediate_values) == 10


def test_a_database_of_ones_own_keeps_studies_apart(tmp_path):
    url = f"sqlite:///{tmp_path / 'mine.sqlite'}"
    sweep(tmp_path / "one", storage=url, study_name="mine", n_trials=2)
    sweep(tmp_path / "one", storage=url, study_name="mine", n_trials=3)
    with pytest.raises(InputError, match="of another sweep"):
        sweep(tmp_path / "two", storage=url, study_name="mine", n_trials=2)
    assert not (tmp_path / "two").exists()
    sweep(tmp_path / "two", storage=url, n_trials=2)
    assert set(optuna.get_all_study_names(url)) == {"mine", "two"}
    assert [len(optuna.load_study(study_name=name, storage=url).trials) for name in ("mine", "two")] == [3, 2]
    with pytest.raises(InputError, match="cannot be opened"):
        sweep(tmp_path / "three", storage="nonsense://", n_trials=2)


def test_sweeps_of_one_search_share_its_trials_and_resume_their_own(tmp_path):
    url = f"sqlite:///{tmp_path / 'mine.sqlite'}"
    options = {"storage": url, "study_name": "mine", "sampler": "grid", "n_trials": None}
    space = ["x=range(0, 6)"]

    def take_part(name, count, **more):
        """Stopped after some jobs, as by a signal: the last of them stays open."""
        launcher = FakeLauncher(tmp_path / name, bowl)
        stream = launcher.stream

        def stopped(jobs, done, tick):
            stream(itertools.islice(jobs, count), done, tick)
            next(jobs, None)

        launcher.stream = stopped
        sweep(tmp_path / name, space, launcher=launcher, **options, **more)

    take_part("one", 2)
    take_part("two", 1, join=True)
    sweep(tmp_path / "one", space, **options)
    study = optuna.load_study(study_name="mine", storage=url)
    assert [trial.state.name for trial in study.trials if trial.user_attrs["sweep"].endswith("two")] == [
        "COMPLETE",
        "RUNNING",
    ]
    sweep(tmp_path / "two", space, join=True, **options)
    study = optuna.load_study(study_name="mine", storage=url)
    assert sorted(trial.params["x"] for trial in study.trials) == [0, 1, 2, 3, 4, 5]
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    folders = [sorted(int(path.name) for path in (tmp_path / name).glob("[0-9]*")) for name in ("one", "two")]
    assert folders == [[0, 1, 2, 5], [3, 4]]
    with pytest.raises(InputError, match="needs the storage"):
        sweep(tmp_path / "three", join=True)


def test_folders_whose_study_was_lost_are_not_mixed_with_a_new_one(tmp_path):
    sweep(tmp_path, n_trials=2)
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(InputError, match="storage lost"):
        sweep(tmp_path, n_trials=3)
