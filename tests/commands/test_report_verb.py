"""`vesalius report` as a user starts it."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from report_maker import finish, write_sweep
from run_maker import predictions, write_run

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def test_a_sweep_becomes_a_page_and_a_leaderboard(vesalius, tmp_path):
    sweep = write_sweep(tmp_path / "runs/sweep", seeds=2)
    before = {path.name for path in sweep.iterdir()}
    done = vesalius("report", "run=runs/sweep")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in sweep.iterdir()} - before == {"report.html", "report.csv", "report.md"}
    assert "Best by val/auroc: resnet18, with a test auroc (mean of 2 runs)" in " ".join(done.stdout.split())
    assert f"Written to: {sweep / 'report.html'}" in done.stdout


def test_a_single_run(vesalius, tmp_path):
    run = finish(write_run(tmp_path / "runs/one", predictions(1.5, 0)), [], 0.8)
    done = vesalius("report", f"run={run}", "images=false")
    assert done.returncode == 0, done.stderr
    assert (run / "report.html").is_file()
    assert "one reaches a test auroc of" in done.stdout


def test_a_folder_that_is_none_leaves_nothing_behind(vesalius, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("no run")
    (tmp_path / "empty").mkdir()
    none = "there is no such folder, or no training run in it or below it: name a run's folder or a sweep's."
    file = "is a file, where a folder is needed: name a folder."
    for name, words in (("mispelt", none), ("other", none), ("empty", none), ("other/notes.txt", file)):
        done = vesalius("report", f"run={name}")
        assert done.returncode == 2
        (said,) = done.stderr.splitlines()
        assert name in said
        assert said.endswith(words)
    assert not (tmp_path / "mispelt").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]


def test_a_sweep_of_which_every_job_is_refused_or_waits(vesalius, tmp_path):
    jobs = [
        {"number": 0, "overrides": ["model=oops"], "state": "refused", "reason": "no such model"},
        {"number": 1, "overrides": ["model=cnn"], "state": "waiting"},
    ]
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text(json.dumps({"schema": 1, "verb": "train", "jobs": jobs}))
    done = vesalius("report", "run=sweep")
    assert done.returncode == 0, done.stderr
    assert "No run is finished yet (1 refused, 1 waiting)" in done.stdout
    assert "no such model" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lstm", "autoencoder"])
def test_explained_test_images_stand_on_the_page_of_a_run(name, vesalius_in, tmp_path):
    shutil.copytree(STORED / name / "finished", tmp_path / "run")
    done = vesalius_in(tmp_path, "report", "run=run", "explain=auto")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "run/figures/explanations.png") as figure:
        assert min(figure.size) > 100
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "explanations" in page


def test_a_method_of_explanation_that_does_not_exist_is_refused(vesalius_in, tmp_path):
    shutil.copytree(STORED / "cnn" / "finished", tmp_path / "run")
    done = vesalius_in(tmp_path, "report", "run=run", "explain=gradcma")
    assert done.returncode == 2
    assert "Did you mean 'gradcam'?" in done.stderr
    assert not (tmp_path / "run/report.html").exists()
