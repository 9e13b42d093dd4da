"""Temperatures and Platt's lines against general optimisers, and what they must leave as it is."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.decision.scaling import Calibration, fit_calibration
from vesalius.metrics.predictions import Predictions, read_predictions


def read(table: pd.DataFrame, task: str = "multiclass") -> Predictions:
    classes = [name.removeprefix("prob/") for name in table if name.startswith("prob/")]
    return read_predictions(table, task=task, classes=classes)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize(("classes", "task"), [(2, "binary"), (4, "multiclass"), (4, "ordinal")])
def test_the_temperature_is_that_of_a_general_optimiser_and_of_the_truth(classes, task, temperature, sample_table):
    p = read(sample_table(1, patients=4000, classes=classes, temperature=temperature), task)
    logits = np.log(p.probabilities)

    def loss(slope: float) -> float:
        scaled = logits * slope
        return float((logsumexp(scaled, axis=1) - scaled[p.truth]).sum() + (slope - 1) ** 2 / 2)

    best = minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-9}).x
    fitted = fit_calibration(p)
    assert fitted.method == "temperature"
    assert fitted.slopes[0] == pytest.approx(best, rel=1e-5)
    assert 1 / fitted.slopes[0] == pytest.approx(temperature, rel=0.1)


def test_platts_lines_are_those_of_a_general_optimiser(sample_table):
    p = read(sample_table(2, patients=3000, temperature=2.5, task="multilabel"), "multilabel")
    fitted = fit_calibration(p)
    odds = np.log(p.probabilities / (1 - p.probabilities))
    for k in range(3):
        sign = 2 * p.truth[:, k] - 1

        def loss(line, z=odds[:, k], sign=sign):
            return np.logaddexp(0, -sign * (line[0] * z + line[1])).sum() + ((line - [1, 0]) ** 2).sum() / 2

        best = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
        assert (fitted.slopes[k], fitted.intercepts[k]) == pytest.approx(tuple(best), abs=1e-4)
        plain = LogisticRegression(C=np.inf).fit(odds[:, [k]], p.truth[:, k])
        assert fitted.slopes[k] == pytest.approx(plain.coef_[0, 0], abs=0.02)  # a weak prior: nearly none of it is left
        assert fitted.intercepts[k] == pytest.approx(plain.intercept_[0], abs=0.02)
        assert fitted.slopes[k] == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_an_overconfident_net_is_better_calibrated_on_new_patients_and_ranks_them_as_before(task, sample_table):
    kind = {"patients": 1000, "classes": 2 if task == "binary" else 3, "temperature": 4.0, "task": task}
    calibration = fit_calibration(read(sample_table(3, **kind), task))
    test = sample_table(4, **kind)
    p = read(test, task)
    columns = [f"prob/{name}" for name in p.classes]
    after = test.assign(**dict(zip(columns, calibration.apply(p.probabilities).T, strict=True)))
    names = ("ece", "brier", "auroc")
    first, second = (
        classification_metrics(table, task=task, classes=p.classes, names=names) for table in (test, after)
    )
    assert second["ece"]["value"] < first["ece"]["value"] / 2
    assert second["brier"]["value"] < first["brier"]["value"]
    if task != "multiclass":
        assert second["auroc"] == first["auroc"]
    assert (calibration.apply(p.probabilities).argmax(axis=1) == p.probabilities.argmax(axis=1)).all() or task == (
        "multilabel"
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("truth", ["separable", "reversed", "one class", "saturated"])
def test_hopeless_validation_data_still_give_a_finite_calibration_that_keeps_the_order(task, truth, sample_table):
    table = sample_table(5, patients=40, classes=2 if task == "binary" else 3, task=task)
    p = read(table, task)
    probabilities = p.probabilities
    likely = (
        p.probabilities > 0.5
        if task == "multilabel"
        else (p.probabilities == p.probabilities.max(axis=1, keepdims=True))
    )
    known = {"separable": likely, "reversed": np.roll(likely, 1, axis=1) if task != "multilabel" else ~likely}
    flags = known.get(truth, np.arange(likely.shape[1]) == np.zeros((len(likely), 1)))
    if truth == "saturated":
        probabilities, flags = likely.astype(float), np.roll(likely, 1, axis=1)
    fitted = fit_calibration(Predictions(p.task, p.classes, flags, probabilities, likely, p.groups))
    assert np.isfinite([*fitted.slopes, *fitted.intercepts]).all()
    assert min(fitted.slopes) >= 0.01 * (1 - 1e-9)
    assert max(fitted.slopes) <= 100
    grid = np.linspace(0, 1, 50)
    pairs = np.stack([1 - grid, grid] + [grid] * (likely.shape[1] - 2), axis=1)
    applied = fitted.apply(pairs if task != "multilabel" else pairs[:, ::-1])
    assert np.isfinite(applied).all()
    assert (np.diff(applied[:, 1 if task != "multilabel" else 0]) >= 0).all()


def test_it_is_written_and_read_back_and_1_changes_nothing(sample_table):
    p = read(sample_table(6))
    assert Calibration("temperature", (1.0,)).apply(p.probabilities) == pytest.approx(p.probabilities, abs=1e-12)
    assert Calibration("platt", (1.0,) * 3, (0.0,) * 3).apply(p.probabilities) == pytest.approx(p.probabilities)
    for fitted in (Calibration("temperature", (0.5,)), Calibration("platt", (1.0, 2.0), (0.0, -1.0))):
        assert Calibration.of_metrics({"calibration": fitted.to_dict()}, 2) == fitted
    assert Calibration.of_metrics({}, 2) is None


@pytest.mark.parametrize(("seed", "noted"), [(8, False), (9, True)])
def test_a_confidence_that_is_no_guide_is_noted(seed, noted, sample_table):
    table = sample_table(seed, patients=1000, classes=2)
    if noted:  # of a net that prefers a class for no reason
        table["prob/c1"] = 0.5 + table["prob/c1"] / 2
        table["prob/c0"] = 1 - table["prob/c1"]
        table["target"] = (np.random.default_rng(0).random(len(table)) > 0.8).astype(int)
    entry = fit_calibration(read(table, "binary")).to_dict()
    assert ("note" in entry) is noted
    assert (entry["temperature"] > 99) is noted


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {},
        {"method": "temperature"},
        {"method": "temperature", "temperature": 0},
        {"method": "temperature", "temperature": -1},
        {"method": "temperature", "temperature": "high"},
        {"method": "temperature", "temperature": float("nan")},
        {"method": "platt", "slope": [1, 1], "intercept": [0, 0]},
        {"method": "platt", "slope": [1, 1, -1], "intercept": [0, 0, 0]},
    ],
)
def test_what_no_run_writes_is_refused(entry):
    with pytest.raises(InputError, match="calibration is not what a run writes"):
        Calibration.of_metrics({"calibration": entry}, 3)
