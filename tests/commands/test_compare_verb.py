"""`vesalius compare` as a user starts it."""

import json
import re

import pytest
from PIL import Image

from run_maker import predictions, write_baseline, write_run


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture
def runs(tmp_path):
    for at, (quality, start) in enumerate([(0.8, None), (2.5, "runs/ae/2026-11-22_14-57-43-50b9")]):
        for seed in (0, 1):
            run = write_run(
                tmp_path / "runs/label_efficiency/2026-11-23_10-00-00-aaaa" / str(2 * at + seed),
                predictions(quality, seed),
                seed=seed,
                init_from=start,
            )
            write_baseline(run, "logistic_pca", predictions(1.2, 9))
    return tmp_path / "runs/label_efficiency"


def test_a_sweep_becomes_a_table_sentences_and_a_picture(vesalius, tmp_path, runs):
    write_run(runs / "2026-11-23_10-00-00-aaaa/4", predictions(1.0, 5), seed=5, state="failed")
    done = vesalius("compare", "runs=runs/label_efficiency", "by=init_from", "baselines=[logistic_pca]")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/comparisons/*/compare.json")
    told = json.loads(path.read_text())
    assert list(told["arms"]) == ["none", "ae", "logistic_pca"]
    assert str(tmp_path) not in path.read_text()
    said = done.stdout
    number = r"-?\.\d{3} \[-?\.\d{3},(\.\d{3}|1\.00)\]"
    assert re.search(rf"^none +2 +{number} +\.500 +–", said, re.M)
    assert re.search(rf"^ae +2 +{number} +\.500 +{number} +none", said, re.M)
    for arm in ("ae", "logistic_pca"):
        assert told["arms"][arm]["verdict"] in " ".join(said.split())
    assert "4 is failed: it is left out" in said
    with Image.open(path.with_name("compare.png")) as picture:
        assert picture.width > 500


def test_runs_by_name_and_a_folder_of_ones_own(vesalius, tmp_path, runs):
    one, other = "runs/label_efficiency/2026-11-23_10-00-00-aaaa/0", "runs/label_efficiency/2026-11-23_10-00-00-aaaa/2"
    arguments = [f"runs=[{one},{other}]", "by=init_from", "metric=accuracy", "reference=ae", "out=here"]
    done = vesalius("compare", *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "here/compare.json").read_text())
    assert told["arms"]["none"]["against"] == "ae"
    assert told["seeds"] == [0]


def test_mistakes_are_named_together_and_leave_nothing(vesalius, tmp_path, runs):
    done = vesalius("compare", "runs=[runs/nowhere,runs/gone]", "by=init_from")
    assert done.returncode == 2
    assert "runs/nowhere is not a folder" in done.stderr
    assert "runs/gone is not a folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/comparisons/*"))


def test_a_missing_option_is_named(vesalius):
    done = vesalius("compare")
    assert done.returncode == 2
    assert "runs has no value" in done.stderr
