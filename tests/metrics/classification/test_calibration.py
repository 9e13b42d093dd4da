"""`ece` against its definition by pairs of patients, its expectation, and what a calibrated model gets."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vesalius.metrics.classification.calibration import CalibrationGaps, signed_root
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.predictions import read_predictions

BINARY: dict[str, Any] = {"task": "binary", "classes": ["benign", "malignant"]}


def drawn(rng: np.random.Generator, patients: int, images: int = 1, slope: float = 1.0) -> pd.DataFrame:
    """Scores with a wide spread; the logit of the truth's probability is `slope` times theirs: 1 is calibrated."""
    count = patients * images
    logits = 2 * rng.standard_normal(count) + 0.5
    truth = rng.random(count) < 1 / (1 + np.exp(-slope * logits))
    return tabled(1 / (1 + np.exp(-logits)), truth, np.repeat(np.arange(patients), images))


def tabled(scores: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(len(scores))],
            "group_id": [f"p{group}" for group in groups],
            "target": truth.astype(int),
            "prob/benign": 1 - scores,
            "prob/malignant": scores,
        }
    )


def ece(table: pd.DataFrame) -> Any:
    return classification_metrics(table, **BINARY)["ece"]


def squares(table: pd.DataFrame, weights: np.ndarray | None = None) -> np.ndarray:
    gaps = CalibrationGaps.of(read_predictions(table, **BINARY))
    return gaps.mean_square(np.ones((1, table["group_id"].nunique())) if weights is None else weights)


def brute_force(table: pd.DataFrame, copies: dict[str, int] | None = None) -> float:
    """The mean over bins of the products of gaps of all pairs of images of different patients."""
    confidence = table[["prob/benign", "prob/malignant"]].max(axis=1).to_numpy()
    correct = table[["prob/benign", "prob/malignant"]].to_numpy().argmax(axis=1) == table["target"].to_numpy()
    gaps = correct - confidence
    total, shares = 0.0, 0.0
    groups = table["group_id"].to_numpy()
    times = np.array([(copies or {}).get(name, 1) for name in groups])
    for low in range(15):
        inside = np.flatnonzero((confidence > low / 15) & (confidence <= (low + 1) / 15))
        pairs = [
            (times[i] * times[j], gaps[i] * gaps[j])
            for i, j in itertools.permutations(inside, 2)
            if groups[i] != groups[j] and times[i] * times[j]
        ]
        if pairs:
            weights, products = np.array(pairs).T
            total += times[inside].sum() * (weights @ products) / weights.sum()
            shares += times[inside].sum()
    return total / shares


@pytest.mark.parametrize("images", [1, 3])
def test_the_square_is_the_mean_product_of_gaps_of_different_patients(images: int) -> None:
    table = drawn(np.random.default_rng(0), 40, images, slope=0.4)
    assert squares(table)[0] == pytest.approx(brute_force(table), abs=1e-12)
    assert ece(table)["value"] == pytest.approx(np.sqrt(max(brute_force(table), 0)), abs=1e-12)
    copies = np.random.default_rng(1).integers(0, 4, size=40)
    names = sorted(table["group_id"].unique())
    expected = brute_force(table, dict(zip(names, copies, strict=True)))
    assert squares(table, copies[None].astype(float))[0] == pytest.approx(expected, abs=1e-12)


def some_gaps(rng: np.random.Generator, count: int, slope: float) -> CalibrationGaps:
    """As `drawn`, without a table: a sample's confidence, and whether it is correct."""
    logits = np.abs(2 * rng.standard_normal(count) + 0.5)
    confidence = 1 / (1 + np.exp(-logits))
    correct = rng.random(count) < 1 / (1 + np.exp(-slope * logits))
    cells = np.ceil(confidence * 15).astype(int) - 1
    return CalibrationGaps(cells, np.arange(count), confidence, correct - confidence, 1)


@pytest.mark.parametrize("slope", [1.0, 0.4])
def test_the_expected_square_is_that_of_the_population(slope: float) -> None:
    rng = np.random.default_rng(2)
    whole = some_gaps(rng, 400_000, slope)
    gaps = np.bincount(whole.cells, 1 / (1 + (1 / whole.confidence - 1) ** slope) - whole.confidence, 15)
    truth = (gaps**2 / np.maximum(np.bincount(whole.cells, minlength=15), 1)).sum() / 400_000
    found = [some_gaps(rng, 60, slope).mean_square(np.ones((1, 60)))[0] for _ in range(300)]
    margin = 4 * np.std(found) / np.sqrt(300)
    assert np.mean(found) == pytest.approx(truth, abs=margin)
    assert margin < 0.008  # the plain sum over bins is .02 too large


def test_a_calibrated_model_is_told_from_one_that_is_not() -> None:
    rng = np.random.default_rng(3)
    studies = [some_gaps(rng, 60, 1.0) for _ in range(100)]
    assert sum(study.interval().low > 0 for study in studies) <= 12  # 5 %; 13 or more come up in 1 of 600 runs
    roots = np.array([signed_root(study.mean_square(np.ones((1, 60))))[0] for study in studies]).clip(0)
    expected = np.mean([study.calibrated_value() for study in studies[:10]])
    assert 0.03 < expected < 0.06
    assert roots.mean() == pytest.approx(expected, abs=4 * roots.std() / np.sqrt(100))
    assert some_gaps(rng, 1000, 1.0).calibrated_value() < 0.015
    wrong = ece(drawn(rng, 300, slope=0.3))
    assert wrong["ci95"][0] > wrong["no_skill"]
    assert wrong["method"] == "clustered U-statistic"


def test_images_of_a_patient_that_are_alike_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    once = drawn(rng, 150, slope=0.5)
    four = once.loc[np.repeat(once.index, 4)].reset_index(drop=True)
    four["sample_id"] = [f"s{i}" for i in four.index]
    apart = four.assign(group_id=[f"p{i}" for i in four.index])
    ends = [ece(table)["ci95"] for table in (once, four, apart)]
    assert ece(four)["value"] == pytest.approx(ece(once)["value"], abs=1e-12)  # four copies are one patient
    single, copied, counted = (high - low for low, high in ends)
    assert copied == pytest.approx(single, rel=0.2)
    assert counted < 0.7 * copied


def test_certain_and_right_is_not_without_doubt() -> None:
    count = 20
    truth = np.arange(count) % 2 == 0
    entry = ece(tabled(truth.astype(float), truth, np.arange(count)))
    assert (entry["value"], entry["ci95"][0], entry["no_skill"]) == (0, 0, 0)
    assert 0.05 < entry["ci95"][1] < 0.3


def test_two_patients_without_a_common_bin_have_a_reason() -> None:
    entry = ece(tabled(np.array([0.55, 0.95]), np.array([True, False]), np.arange(2)))
    assert (entry["value"], entry["no_skill"]) == (None, None)
    assert "one bin" in entry["reason"]


def test_each_label_counts_alike() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.random((80, 2))
    truth = rng.random((80, 2)) < probabilities**2
    table = pd.DataFrame({"sample_id": np.arange(80).astype(str), "group_id": np.arange(80).astype(str)})
    for k, name in enumerate("ab"):
        table[f"target/{name}"], table[f"prob/{name}"] = truth[:, k].astype(int), probabilities[:, k]
    both = read_predictions(table, task="multilabel", classes=["a", "b"])
    weights = np.ones((1, 80))
    single = [
        squares(tabled(probabilities[:, k], truth[:, k], table["group_id"].to_numpy()), weights)[0] for k in (0, 1)
    ]
    assert CalibrationGaps.of(both).mean_square(weights)[0] == pytest.approx(np.mean(single), abs=1e-12)


def test_repeats_and_differences_are_those_of_the_values_shown() -> None:
    rng = np.random.default_rng(6)
    tables = [drawn(rng, 200, slope=slope) for slope in (1.0, 1.0, 1.0)]
    tables = [table.assign(target=tables[0]["target"]) for table in tables]  # the later two are far off
    values = [ece(table)["value"] for table in tables]
    single = repeated_metric(tables[:1], metric="ece", **BINARY)
    assert single["ci95"] == pytest.approx(ece(tables[0])["ci95"], abs=1e-12)
    assert (single["value"], single["method"]) == (pytest.approx(values[0]), "clustered U-statistic")
    found = repeated_metric(tables, metric="ece", **BINARY)
    assert found["no_skill"] == pytest.approx(np.mean([ece(table)["no_skill"] for table in tables]))
    assert found["value"] == pytest.approx(np.mean(values))
    assert found["ci95"][0] <= found["value"] <= found["ci95"][1]
    difference = repeated_difference(tables[:1], tables[1:2], metric="ece", **BINARY)
    assert difference["value"] == pytest.approx(values[0] - values[1])
    assert difference["ci95"][1] < 0


def test_a_root_keeps_the_sign() -> None:
    assert signed_root(np.array([-0.04, 0.0, 0.09])) == pytest.approx([-0.2, 0, 0.3])
