"""What a sweep's folder remembers, and with which arguments it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from run_maker import predictions, write_run
from vesalius.config.errors import InputError
from vesalius.launch import resume_despite
from vesalius.runs import sweep_folder
from vesalius.runs.sweep_folder import SweepFolder, axes_of, take_folder, withdraw
from vesalius.sweeps.resume import flags_of, resumed_arguments

ARGUMENTS = ["hydra.launcher.n_jobs=2", "seed=0,1", "trainer.max_epochs=2"]


@pytest.fixture
def sweep(tmp_path):
    folder = SweepFolder.create(tmp_path / "here", verb="train", arguments=ARGUMENTS, axes={}, sweeper="basic")
    folder.plan_jobs({number: [f"seed={number}", "trainer.max_epochs=2"] for number in (0, 1)})
    return folder


def test_no_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no sweep\.json"):
        SweepFolder(tmp_path)


def test_what_varies_is_an_axis():
    jobs = [["lr=0.1", "model=cnn", "seed=1"], ["lr=0.1", "model=lstm", "seed=0"], ["lr=0.1", "model=cnn", "seed=0"]]
    assert axes_of(jobs) == {"model": ["cnn", "lstm"], "seed": ["1", "0"]}
    assert axes_of(jobs[:1]) == axes_of([]) == {}


def test_jobs_that_are_planned_again_stay_as_they_were(sweep):
    sweep.plan_jobs({0: ["seed=7"], 1: ["seed=8"], 2: ["seed=9"]})
    assert [job.overrides[0] for job in sweep.jobs] == ["seed=0", "seed=1", "seed=9"]
    assert [job.state for job in sweep.jobs] == ["waiting"] * 3
    assert sweep.content["axes"]["seed"] == ["0", "1", "9"]


def test_the_run_folder_knows_best_how_a_job_stands(sweep):
    sweep.write_job(0, ["seed=0"], state="running")
    sweep.write_job(1, ["seed=1"], state="running")
    assert [job.state for job in sweep.jobs] == ["running", "running"]
    write_run(sweep.path / "0", predictions(1.0, 0), state="pruned")
    write_run(sweep.path / "1", predictions(1.0, 0), state="running")
    (sweep.path / "1" / "state.json").write_text(json.dumps({"state": "running", "pid": 2**22 + 1}))
    assert [job.state for job in sweep.jobs] == ["pruned", "interrupted"]
    assert sweep.jobs[1].reason == "killed"
    (sweep.path / "1" / "state.json").write_text(json.dumps({"state": "running", "pid": os.getpid()}))
    sweep.write_cluster_name(1, "77_1")
    (sweep.path / "1" / "state.json").write_text(json.dumps({"state": "running", "pid": 2**22 + 1}))
    assert sweep.jobs[1].state == "running"  # on another machine
    sweep.write_job(1, ["seed=1"], state="failed", reason="bad luck")
    assert sweep.cluster_name(1) == "77_1"
    assert sweep.cluster_name(0) is None


def test_one_process_holds_a_sweep_and_its_death_lets_go(sweep):
    code = (
        "import time; from pathlib import Path; from vesalius.runs.sweep_folder import take_folder\n"
        f"lock = take_folder(Path({str(sweep.path)!r}), resume=True); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process"):
        take_folder(sweep.path, resume=True)
    other.kill()
    other.wait()
    take_folder(sweep.path, resume=True).close()


def test_a_new_sweep_takes_no_folder_that_holds_something(sweep, tmp_path):
    with pytest.raises(InputError, match=f"resume={sweep.path}"):
        take_folder(sweep.path, resume=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "0").touch()
    with pytest.raises(InputError, match="choose another folder"):
        take_folder(tmp_path / "mine", resume=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["0"]
    for path in (tmp_path / "mine" / "0", tmp_path / "mine" / "0" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="no folder can be created"):
            take_folder(path, resume=False)


def test_a_sweep_that_was_killed_while_it_began_can_begin_again(tmp_path):
    for name in (".sweep.json.77", ".lock", "multirun.yaml"):
        (tmp_path / name).touch()
    take_folder(tmp_path, resume=False).close()
    (tmp_path / ".notes").touch()
    with pytest.raises(InputError, match="is not empty"):
        take_folder(tmp_path, resume=False)


def test_only_what_a_sweep_that_never_began_has_created_is_withdrawn(sweep, tmp_path):
    refused = tmp_path / "a" / "b"
    take_folder(refused, resume=False).close()
    (refused / "multirun.yaml").touch()
    withdraw(refused)
    assert not (tmp_path / "a").exists()
    (sweep.path / "multirun.yaml").touch()
    withdraw(sweep.path)
    assert (sweep.path / "multirun.yaml").exists()


def test_a_refused_sweep_leaves_the_folder_of_another_process_and_those_that_it_did_not_make(tmp_path, monkeypatch):
    mine, here = tmp_path / "mine", tmp_path / "mine" / "here"
    mine.mkdir()
    withdraw(here)
    assert mine.is_dir()
    take_folder(here, resume=False).close()
    withdraw(here)
    assert (mine.is_dir(), here.exists()) == (True, False)
    with take_folder(here, resume=False):
        monkeypatch.setattr(sweep_folder, "_taken", {})  # as of another process
        with pytest.raises(InputError, match="another process"):
            take_folder(here, resume=False)
        withdraw(here)
        assert (here / ".lock").exists()


@pytest.mark.parametrize("spoiled", ["", '{"verb": "tr', "\xff", "{}", "[]"])
def test_a_spoiled_sweep_is_refused(sweep, spoiled):
    (sweep.path / "sweep.json").write_text(spoiled, encoding="latin-1")
    with pytest.raises(InputError, match="is damaged"):
        resumed_arguments("train", ["-m", f"resume={sweep.path}"])


def test_resume_without_arguments_takes_those_of_the_sweep(sweep):
    content = resumed_arguments("train", ["-m", f"resume={sweep.path}"])
    assert content == ["-m", *ARGUMENTS, f"hydra.sweep.dir='{sweep.path}'", "hydra.launcher.resume=true"]
    same = resumed_arguments("train", ["trainer.max_epochs=2", "-m", f"resume={sweep.path}", "seed=0,1"])
    assert same == content  # in the old order, which numbers the jobs


def test_how_jobs_are_run_may_change_on_resume(sweep):
    content = resumed_arguments("train", ["-m", f"resume={sweep.path}", "hydra.launcher.n_jobs=1"])
    assert "hydra.launcher.n_jobs=1" in content
    assert "hydra.launcher.n_jobs=2" not in content
    assert "hydra.sweeper.n_trials=9" in resumed_arguments(
        "train", ["-m", f"resume={sweep.path}", "hydra.sweeper.n_trials=9"]
    )


def test_what_a_resume_goes_on_despite_is_no_argument_of_the_sweep(sweep, monkeypatch):
    monkeypatch.setenv(resume_despite._VARIABLE, "")
    plain = resumed_arguments("train", ["-m", f"resume={sweep.path}"])
    assert resumed_arguments("train", ["-m", f"resume={sweep.path}", "resume_despite=[code,data]"]) == plain
    assert [word for word in resume_despite.WORDS if resume_despite.is_despite(word)] == ["code", "data"]
    with pytest.raises(InputError, match="one or more of code, data, split"):
        resumed_arguments("train", ["-m", f"resume={sweep.path}", "resume_despite=everything"])


def test_a_sweep_goes_on_where_its_relative_paths_are(tmp_path, monkeypatch):
    begun, elsewhere = tmp_path / "begun", tmp_path / "elsewhere"
    for place in (begun, elsewhere):
        place.mkdir()
        monkeypatch.chdir(place)
        if place == begun:
            SweepFolder.create(Path("here"), verb="train", arguments=ARGUMENTS, axes={}, sweeper="basic")
            assert f"hydra.sweep.dir='{Path('here')}'" in resumed_arguments("train", ["-m", "resume=here"])
    content = resumed_arguments("train", ["-m", "resume=../begun/here"])
    assert Path.cwd() == begun
    assert f"hydra.sweep.dir='{begun / 'here'}'" in content
    begun.rename(tmp_path / "moved")  # with all that is in it
    monkeypatch.chdir(tmp_path / "moved")
    assert "hydra.sweep.dir='here'" in resumed_arguments("train", ["-m", "resume=here"])
    assert Path.cwd() == tmp_path / "moved"


def test_other_arguments_are_refused_by_name(sweep):
    with pytest.raises(InputError) as caught:
        resumed_arguments("train", ["-m", f"resume={sweep.path}", "seed=0,1", "model=lstm"])
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("model=lstm: ")
    assert "trainer.max_epochs=2" in caught.value.problems[1]
    with pytest.raises(InputError, match="vesalius train"):
        resumed_arguments("embed", ["-m", f"resume={sweep.path}"])


def test_flags_are_remembered_unless_given_again(sweep, tmp_path):
    sweep.write_flags(flags_of(["-m", "--config-dir", str(tmp_path), "seed=0,1"]))
    assert resumed_arguments("train", ["-m", f"resume={sweep.path}"])[1:3] == ["--config-dir", str(tmp_path)]
    again = resumed_arguments("train", ["-m", f"resume={sweep.path}", "--config-dir=other"])
    assert again[1:2] == ["--config-dir=other"]
    assert str(tmp_path) not in again


def test_a_flag_names_the_same_folder_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "a=b"):
        (tmp_path / name).mkdir()
        assert flags_of(["-m", f"--config-dir={name}"]) == [f"--config-dir={tmp_path / name}"]
        assert flags_of(["-m", "-cd", name]) == ["-cd", str(tmp_path / name)]


def test_auto_begins_a_sweep_or_goes_on_with_it(sweep, tmp_path):
    auto = ["-m", "resume=auto", *ARGUMENTS]
    begun = resumed_arguments("train", [*auto, f"hydra.sweep.dir={tmp_path / 'new'}"])
    assert begun == ["-m", *ARGUMENTS, f"hydra.sweep.dir={tmp_path / 'new'}"]
    assert "hydra.launcher.resume=true" in resumed_arguments("train", [*auto, f"hydra.sweep.dir={sweep.path}"])
    with pytest.raises(InputError, match=r"hydra\.sweep\.dir=DIR"):
        resumed_arguments("train", auto)


def test_a_run_and_a_sweep_are_not_mixed_up(sweep, tmp_path):
    run = write_run(tmp_path / "run", predictions(1.0, 0))
    with pytest.raises(InputError, match="leave out -m"):
        resumed_arguments("train", ["-m", f"resume={run}"])
    single = ["seed=0", f"resume={run}"]
    assert resumed_arguments("train", single) == single
    assert resumed_arguments("train", ["-m", "seed=0,1"]) == ["-m", "seed=0,1"]
