"""Probabilities under other shares of the classes: closed forms, and calibration after a shift made on purpose."""

import numpy as np
import pandas as pd
import pytest

from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.decision.prior_shift import estimate_priors, prior_entries, shift_priors
from vesalius.metrics.predictions import read_predictions


def shifted(table: pd.DataFrame, shares: list[float], patients: int, seed: int) -> pd.DataFrame:
    """Patients drawn from a table by the class of their (only) sample, with these shares of the classes."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(len(shares), size=patients, p=shares)
    rows = [rng.choice(np.flatnonzero(table["target"] == k), size=(targets == k).sum()) for k in range(len(shares))]
    drawn = table.iloc[np.concatenate(rows)].reset_index(drop=True)
    return drawn.assign(sample_id=range(patients), group_id=range(patients))


def read(table, classes=3, task="multiclass"):
    return read_predictions(table, task=task, classes=[f"c{k}" for k in range(classes)])


def test_it_is_bayes_rule():
    probabilities = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    moved = shift_priors(probabilities, [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], multilabel=False)
    expected = np.array([0.7 * 0.4, 0.2, 0.1 * 2.5])
    assert moved[0] == pytest.approx(expected / expected.sum())
    assert moved[1].tolist() == [1, 0, 0]
    back = shift_priors(moved, [0.2, 0.3, 0.5], [0.5, 0.3, 0.2], multilabel=False)
    assert back == pytest.approx(probabilities)
    by_label = shift_priors(probabilities[:1], [0.5] * 3, [0.9, 0.5, 0.1], multilabel=True)[0]
    odds = probabilities[0] / (1 - probabilities[0]) * [9, 1, 1 / 9]
    assert by_label == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("multilabel", [False, True])
def test_equal_shares_change_nothing_and_unknown_ones_are_left(multilabel):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    same = shift_priors(probabilities, [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], multilabel=multilabel)
    assert same == pytest.approx(probabilities)
    unknown = shift_priors(probabilities, [0.0, 0.0, 1.0], [0.3, 0.3, 0.4], multilabel=multilabel)
    assert np.isfinite(unknown).all()


@pytest.mark.parametrize(("old", "new"), [(0.8, 0.2), (0.25, 0.75), (0.9, 0.5)])
def test_the_shares_are_found_and_calibration_comes_back(old, new, sample_table):
    """Patients of another prevalence than that which the probabilities are calibrated for."""
    columns, kind = ["prob/c0", "prob/c1"], {"multilabel": False}
    table = shifted(sample_table(1, patients=20_000, classes=2, skill=1.2), [1 - new, new], 3000, 2)
    before = [1 - old, old]
    p = read(table, 2, "binary")
    known = shift_priors(p.probabilities, [0.5, 0.5], before, **kind)
    found = estimate_priors(known, p.groups, before, **kind)
    assert found[1] == pytest.approx(new, abs=0.04)

    def ece(values: np.ndarray) -> float:
        moved = table.assign(**dict(zip(columns, values.T, strict=True)))
        entry = classification_metrics(moved, task="binary", classes=p.classes, names=["ece"])["ece"]
        return entry["value"]

    as_it_is, corrected = ece(known), ece(shift_priors(known, before, found.tolist(), **kind))
    given = ece(shift_priors(known, before, [1 - new, new], **kind))
    print(as_it_is, corrected, given)
    assert as_it_is > 0.1
    assert corrected < as_it_is / 2
    assert given < as_it_is / 2


def test_few_patients_do_not_lose_a_class(sample_table):
    p = read(sample_table(3, patients=12, per=10, alike=1.0))
    found = estimate_priors(p.probabilities, p.groups, [1 / 3] * 3, multilabel=False)
    assert found.min() >= 1 / 15 - 1e-6  # one patient per class among 12 and 3
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(("per", "alike"), [(1, 0.0), (4, 1.0)])
def test_the_interval_of_a_share_holds_it(per, alike, sample_table):
    """Patients of the old shares: the prior pulls nowhere, so that only the interval is tested."""
    old = [1 / 3] * 3
    held = []
    for seed in range(120):
        p = read(sample_table(100 + seed, patients=60, per=per, alike=alike, skill=3))
        entries = prior_entries(p.probabilities, p.groups, old, p.classes, multilabel=False)
        held += [entry["ci95"][0] <= 1 / 3 <= entry["ci95"][1] for entry in entries.values()]
    print(per, alike, np.mean(held))
    assert np.mean(held) > 0.9


def test_labels_have_shares_of_their_own(sample_table):
    table = sample_table(5, patients=10_000, task="multilabel")
    p = read(table, task="multilabel")
    entries = prior_entries(p.probabilities, p.groups, p.truth.mean(axis=0).tolist(), p.classes, multilabel=True)
    for k, name in enumerate(p.classes):
        assert entries[name]["value"] == pytest.approx(p.truth[:, k].mean(), abs=0.03)
        assert entries[name]["ci95"][0] < entries[name]["value"] < entries[name]["ci95"][1]
