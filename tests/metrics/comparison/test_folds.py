"""Ranking metrics of a cross-validation are means over the folds, with interval, no-skill value and reasons."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from vesalius.metrics.classification.no_skill import random_average_precision
from vesalius.metrics.comparison.arms import arm_difference, arm_metric

SCORES = {"auroc": roc_auc_score, "average_precision": average_precision_score}


@dataclass(frozen=True)
class FoldRun:
    """A finished run that tested one fold."""

    repeat: tuple[int, int, int]
    table: pd.DataFrame

    @property
    def metrics(self):
        """Of each fold, whose numbers are not used where there are several."""
        return {name: {} for name in ("auroc", "average_precision", "accuracy")}


def runs_of(truth, scores, folds, *, seed=0, images=1):
    """A run per fold; scores (N * images,) of any scale, one patient per N."""
    patients = np.repeat(np.arange(len(truth)), images)
    sick = 1 / (1 + np.exp(-scores))
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(len(patients))], "group_id": patients.astype(str)})
    table = table.assign(target=truth[patients].astype(int), **{"prob/healthy": 1 - sick, "prob/sick": sick})
    return [
        FoldRun((seed, 0, fold), table[folds[patients] == fold].reset_index(drop=True)) for fold in np.unique(folds)
    ]


def cross_validation(offset, *, patients=200, folds=5, skill=1.75, seed=0):
    """Every second patient is sick; each model adds its own number to all its scores."""
    random, truth = np.random.default_rng(seed), np.arange(patients) % 2 == 1
    fold = np.arange(patients) // 2 % folds
    return truth, random.normal(size=patients) + skill * truth + offset * random.normal(size=folds)[fold], fold


def mean_of_folds(metric, runs):
    return np.mean([SCORES[metric](run.table["target"], run.table["prob/sick"]) for run in runs])


@pytest.mark.parametrize("metric", SCORES)
def test_scales_of_the_folds_do_not_change_the_value(metric):
    own, apart = (runs_of(*cross_validation(offset)) for offset in (0, 2))
    pooled = pd.concat([run.table for run in apart])
    entry = arm_metric(apart, metric, "binary")
    assert entry["value"] == pytest.approx(mean_of_folds(metric, apart))
    assert entry == arm_metric(own, metric, "binary") | {"value": entry["value"], "ci95": entry["ci95"]}
    assert entry["ci95"] == pytest.approx(arm_metric(own, metric, "binary")["ci95"])
    assert SCORES[metric](pooled["target"], pooled["prob/sick"]) < entry["ci95"][0]
    assert entry["method"] == "mean of 5 folds, influence functions over patients"
    assert (entry["n"], entry["groups"]) == (200, 200)


def test_the_interval_is_that_of_the_influence_functions_of_ledell():
    truth, scores, fold = cross_validation(2)
    entry = arm_metric(runs_of(truth, scores, fold), "auroc", "binary")
    variances = []
    for own in (fold == k for k in range(5)):
        positive, negative = scores[own & truth], scores[own & ~truth]
        wins = positive[:, None] > negative
        variances.append(wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative))
    error, value = np.sqrt(np.mean(variances) / 5), entry["value"]
    logit = np.log(value / (1 - value)) + np.array([-1, 1]) * 1.974 * error / (value * (1 - value))
    # The library takes a quarter of a binormal variance where that is larger, and other degrees of freedom than 180.
    assert entry["ci95"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.006)


def test_metrics_of_a_decision_are_those_of_all_samples():
    runs = runs_of(*cross_validation(2))
    whole = pd.concat([run.table for run in runs])
    assert arm_metric(runs, "accuracy", "binary")["value"] == accuracy_score(whole["target"], whole["prob/sick"] > 0.5)


def test_models_that_answer_the_training_prevalence_have_no_auroc_below_one_half():
    truth = np.arange(30) % 3 == 0
    for folds, value in ((np.arange(30), None), (np.arange(30) // 10, 0.5)):
        share = np.array([truth[folds != fold].mean() for fold in folds])
        runs = runs_of(truth, np.log(share / (1 - share)), folds)
        entry = arm_metric(runs, "auroc", "binary")
        assert entry["value"] == value
        if value is None:
            assert roc_auc_score(truth, share) == 0  # pooled
            assert "20 of 30 folds have no sample of class sick" in entry["reason"]
            assert "use fewer folds" in entry["reason"]
            difference = arm_difference(runs, runs, "auroc", "binary")
            assert difference["value"] is None


def test_noise_on_unequal_folds_is_worth_one_half():
    random, values, pooled = np.random.default_rng(0), [], []
    for _ in range(60):
        truth, folds = random.permutation(np.arange(40) % 2 == 0), np.arange(40) // 8
        if any(len(set(truth[folds == fold])) < 2 for fold in range(5)):
            continue
        share = np.array([truth[folds != fold].mean() for fold in folds])
        scores = 20 * share + random.normal(size=40)  # noise about what the model learned of the frequencies
        values.append(arm_metric(runs_of(truth, scores, folds), "auroc", "binary")["value"])
        pooled.append(roc_auc_score(truth, scores))
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)
    assert np.mean(pooled) < 0.42


def test_a_random_order_of_few_samples_is_the_no_skill_value_of_average_precision():
    truth, scores, fold = cross_validation(0, patients=50, skill=0)
    runs = runs_of(truth, scores, fold)
    assert arm_metric(runs, "average_precision", "binary")["no_skill"] == random_average_precision(5, 10)


def test_differences_are_paired_within_folds():
    truth, scores, fold = cross_validation(2)
    better = scores + 0.8 * truth + 3 * np.random.default_rng(9).normal(size=5)[fold]
    first, second = runs_of(truth, better, fold), runs_of(truth, scores, fold)
    entry = arm_difference(first, second, "auroc", "binary")
    assert entry["value"] == pytest.approx(mean_of_folds("auroc", first) - mean_of_folds("auroc", second))
    assert entry["method"] == "paired mean of 5 folds, influence functions over patients"
    low, high = entry["ci95"]
    assert 0 < low < entry["value"] < high
    single = arm_metric(second, "auroc", "binary")["ci95"]
    assert high - low < single[1] - single[0]


def test_seeds_of_a_cross_validation_are_averaged():
    every = [runs_of(*cross_validation(2)[:1], *cross_validation(2, seed=seed)[1:], seed=seed) for seed in range(3)]
    entry = arm_metric([run for runs in every for run in runs], "auroc", "binary")
    assert entry["value"] == pytest.approx(np.mean([mean_of_folds("auroc", runs) for runs in every]))
    assert entry["method"] == "mean of 5 folds, influence functions over patients and 3 repeats"
    assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]


@pytest.mark.parametrize(
    ("sick", "words"), [(3, "have no sample of class sick"), (5, "5 patients with samples of class sick")]
)
def test_folds_too_small_for_an_auroc_of_each_have_a_reason(sick, words):
    truth = np.arange(40) < sick
    folds = np.arange(40) % 5
    entry = arm_metric(runs_of(truth, np.random.default_rng(0).normal(size=40), folds), "auroc", "binary")
    assert entry["value"] is None
    assert words in entry["reason"]
