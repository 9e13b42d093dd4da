"""A run's calibration, sets and operating point: written by training, applied by evaluate and predict."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vesalius
from small_runs import SMALL, train_in
from vesalius.config.facts import Facts
from vesalius.data.sources.lesions import Lesions
from vesalius.metrics.classification.decision_rule import DecisionRule

pytestmark = pytest.mark.slow

PARTS = {"calibration", "conformal", "decision_curve", "abstention"}


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A run of two classes, and as many images of other patients."""
    place = tmp_path_factory.mktemp("decisions")
    for name, seed in (("own", 1), ("other", 2)):
        source = Lesions(patients=48, slices=2, image_size=28, seed=seed)
        samples = source.samples()
        images = np.concatenate([source.load(row) for row in samples.to_dict("records")])
        labels = np.where(samples["target"] > 0, "finding", "healthy")
        np.savez(place / f"{name}.npz", images=images, labels=labels, patients=samples["_patient"].to_numpy())
    overrides = [one for one in SMALL if not one.startswith("data.")]
    overrides += [
        "data=npz",
        f"data.source.file={place / 'own.npz'}",
        "data.source.group=patients",
        "data.batch_size=32",
    ]
    overrides += ["data.source.classes=[healthy,finding]", "data.fractions=[0.4,0.3,0.3]", "trainer.max_epochs=2"]
    overrides += ["data.batch_size=32"]
    train_in(place / "run", [*overrides, "evaluation.decision=cost@5", "evaluation.prevalence=0.02"])
    return place


def read(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def test_a_run_has_all_parts_and_its_figures(place) -> None:
    metrics = read(place / "run")
    assert metrics.keys() >= PARTS | {"operating_point"}
    assert metrics["operating_point"]["threshold"] == metrics["decision"]["threshold"]
    assert metrics["operating_point"]["prevalence"] == 0.02
    assert "prior_shift" not in metrics
    for name in ("calibration", "decision_curve", "abstention"):
        assert (place / "run/figures" / f"{name}.png").is_file()


def test_evaluated_again_the_parts_are_the_same(place, vesalius_in) -> None:
    done = vesalius_in(place, "evaluate", "run=run")
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in place.glob("run/evaluations/*/metrics.json"))
    again, own = read(folder), read(place / "run")
    for part in PARTS | {"operating_point"}:
        assert again[part] == own[part]
    assert "at a prevalence of .020: PPV" in done.stdout


def test_other_data_are_evaluated_with_the_runs_own_calibration(place, vesalius_in) -> None:
    known = set(place.glob("run/evaluations/*"))
    other = ["data=npz", f"data.source.file={place / 'other.npz'}", "data.source.group=patients"]
    classes = "data.source.classes=[healthy,finding]"
    done = vesalius_in(place, "evaluate", "run=run", *other, classes, "evaluation.prevalence=0.5")
    assert done.returncode == 0, done.stderr
    (folder,) = set(place.glob("run/evaluations/*")) - known
    metrics, own = read(folder), read(place / "run")
    assert metrics["calibration"]["temperature"] == own["calibration"]["temperature"]
    assert metrics["calibration"]["test"] != own["calibration"]["test"]
    assert metrics["conformal"]["thresholds"] == own["conformal"]["thresholds"]
    assert metrics["operating_point"]["prevalence"] == 0.5
    assert set(metrics["prior_shift"]["priors"]) == {"healthy", "finding"}
    assert "classes as frequent as the probabilities make likely: healthy" in done.stdout


def test_predictions_are_calibrated_and_have_the_sets_of_the_test_split(place) -> None:
    model = vesalius.load(place / "run")
    with np.load(place / "own.npz") as file:
        images = file["images"]
    own = pd.read_csv(place / "run/predictions/test.csv", dtype={"sample_id": str})
    rows = own["sample_id"].str.extract(r"(\d+)$")[0].astype(int).tolist()
    table = model.predict([images[row] for row in rows])
    rule = DecisionRule.of_metrics(read(place / "run"), Facts.from_dict(model.facts.to_dict()))
    probabilities = own[["prob/healthy", "prob/finding"]].to_numpy()
    np.testing.assert_allclose(table[["prob/healthy", "prob/finding"]], rule.calibrate(probabilities), atol=1e-5)
    assert table["prediction"].tolist() == rule.decide(probabilities)
    assert table["set"].tolist() == rule.prediction_sets(probabilities)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.decision=cost@0", "threshold rule cost@0"),
        ("evaluation.prevalence=0.1", "is of two classes, but the task is multiclass"),
        ("evaluation.conformal.coverage=90", "evaluation.conformal.coverage=90"),
        ("evaluation.conformal.covrage=0.9", "coverage"),
    ],
)
def test_a_wrong_option_stops_the_run_before_it_trains(override, message, tmp_path, vesalius_in) -> None:
    done = vesalius_in(tmp_path, "train", *SMALL, override)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.glob("runs/**/config.yaml"))
