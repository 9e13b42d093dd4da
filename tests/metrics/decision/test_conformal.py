"""Prediction sets against mapie, and that new patients are covered whose samples are alike."""

import numpy as np
import pandas as pd
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from vesalius.config.errors import InputError
from vesalius.metrics.decision.conformal import ConformalSets, fit_sets, patient_means, score_sets
from vesalius.metrics.predictions import read_predictions

CLASSES = ["c0", "c1", "c2"]


class Known(ClassifierMixin, BaseEstimator):
    """A classifier that is given its probabilities as its input."""

    def fit(self, x, y):
        self.classes_ = np.arange(x.shape[1])
        self.fitted_ = True
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)


def read(table, task="multiclass"):
    return read_predictions(table, task=task, classes=CLASSES)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_with_one_sample_per_patient_the_sets_are_mapies(coverage, sample_table):
    val, test = read(sample_table(1, patients=150)), read(sample_table(2, patients=300))
    sets = fit_sets(val.truth, val.probabilities, val.groups, coverage)
    known = Known().fit(val.probabilities, val.truth.argmax(axis=1))
    oracle = SplitConformalClassifier(known, confidence_level=coverage, conformity_score="lac", prefit=True)
    oracle.conformalize(val.probabilities, val.truth.argmax(axis=1))
    _, held = oracle.predict_set(test.probabilities)
    assert (sets.contains(test.probabilities) == held[:, :, 0]).all()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_by_class_each_class_has_mapies_threshold_of_its_own_samples(coverage, sample_table):
    val, test = read(sample_table(3, patients=300)), read(sample_table(4, patients=300))
    sets = fit_sets(val.truth, val.probabilities, val.groups, coverage, by_class=True)
    for k in range(3):
        own = val.probabilities[val.truth[:, k]]
        known = Known().fit(own, None)
        oracle = SplitConformalClassifier(known, confidence_level=coverage, conformity_score="lac", prefit=True)
        oracle.conformalize(own, np.full(len(own), k))
        _, held = oracle.predict_set(test.probabilities)
        assert (sets.contains(test.probabilities)[:, k] == held[:, k, 0]).all()


def test_copies_of_a_patients_sample_are_no_new_patients(sample_table):
    """11 patients, 30 copies each: taken for 330 exchangeable samples they cover 10 of 12 new patients, not 9 of 10."""
    usual, by_patient = [], []
    for seed in range(80):
        val, test = read(sample_table(seed, patients=11)), read(sample_table(1000 + seed, patients=400))
        truth, probabilities, groups = (np.repeat(it, 30, axis=0) for it in (val.truth, val.probabilities, val.groups))
        for each, shares in ((np.arange(330), usual), (groups, by_patient)):
            sets = fit_sets(truth, probabilities, each, 0.9)
            shares.append(sets.contains(test.probabilities)[test.truth].mean())
    assert np.mean(usual) == pytest.approx(10 / 12, abs=0.035)
    assert np.mean(by_patient) == pytest.approx(11 / 12, abs=0.035)


def test_patients_count_equally_however_many_samples_they_have(sample_table):
    table = sample_table(5, patients=60, per=4)
    repeated = table[table["group_id"] == "p7"]
    copies = [repeated.assign(sample_id=lambda t, i=i: t["sample_id"] + f"copy{i}") for i in range(20)]
    longer = pd.concat([table, *copies], ignore_index=True)
    one, other = (read(each) for each in (table, longer))
    assert fit_sets(one.truth, one.probabilities, one.groups, 0.9) == fit_sets(
        other.truth, other.probabilities, other.groups, 0.9
    )
    sets = fit_sets(one.truth, one.probabilities, one.groups, 0.9)
    first, second = score_sets(sets, one), score_sets(sets, other)
    for name in ("coverage", "set_size"):
        assert first[name]["value"] == pytest.approx(second[name]["value"])
        assert first[name]["ci95"] == pytest.approx(second[name]["ci95"])


def test_too_few_patients_put_every_class_into_the_sets(sample_table):
    p = read(sample_table(6, patients=8, per=50))
    sets = fit_sets(p.truth, p.probabilities, p.groups, 0.9)
    assert sets.thresholds == (0.0,) * 3
    assert score_sets(sets, p)["set_size"]["value"] == 3
    assert fit_sets(p.truth, p.probabilities, p.groups, 0.8).thresholds[0] > 0


def test_labels_that_are_present_are_in_the_set(sample_table):
    val, test = (read(sample_table(seed, patients=400, task="multilabel"), "multilabel") for seed in (7, 8))
    sets = fit_sets(val.truth, val.probabilities, val.groups, 0.9, by_class=True)
    entries = score_sets(sets, test)
    for name in CLASSES:
        low, high = entries[f"coverage/{name}"]["ci95"]
        assert low - 0.03 < 0.9 < high + 0.03
    absent = ~test.truth
    assert sets.contains(test.probabilities)[absent].mean() < 0.75


def test_sets_without_images_are_the_most_frequent_classes(sample_table):
    p = read(sample_table(11, patients=90))
    counts = np.sort(p.truth.mean(axis=0))[::-1]
    sets = ConformalSets(0.5, False, (0.1,) * 3)
    expected = 0.5 / counts[0] if counts[0] >= 0.5 else 1 + (0.5 - counts[0]) / counts[1]
    assert score_sets(sets, p)["set_size"]["no_skill"] == pytest.approx(expected)


def test_means_of_patients_are_those_of_pandas(sample_table):
    table = sample_table(12, patients=20, per=3)
    p = read(table)
    expected = table.groupby("group_id")["prob/c0"].mean().to_numpy()
    assert patient_means(p.probabilities[:, 0], p.groups) == pytest.approx(expected)


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"coverage": 0.9},
        {"coverage": 0.9, "thresholds": [0.1]},
        {"coverage": 2, "thresholds": [0.1] * 3},
        {"coverage": 0.9, "thresholds": ["low"] * 3},
        {"coverage": 0.9, "thresholds": [float("nan")] * 3},
    ],
)
def test_what_no_run_writes_is_refused(entry):
    with pytest.raises(InputError, match="conformal is not what a run writes"):
        ConformalSets.of_metrics({"conformal": entry}, 3)


def test_sets_are_written_and_read_back():
    sets = ConformalSets(0.9, True, (0.1, 0.2, 0.0))
    assert ConformalSets.of_metrics({"conformal": sets.to_dict()}, 3) == sets
    assert ConformalSets.of_metrics({}, 3) is None
