"""Point values against scikit-learn and MedMNIST; invariants of the numbers and their intervals."""

import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics, metric_names
from vesalius.metrics.classification.weighted import weighted_metrics
from vesalius.metrics.predictions import check_predictions, read_predictions

TASKS = [("binary", 2), ("multiclass", 5), ("ordinal", 3), ("multilabel", 4)]


def names(count: int) -> list[str]:
    return [f"c{k}" for k in range(count)]


def predictions(
    task: str, count: int, samples: int = 90, patients: int = 40, *, seed: int = 0, ties: bool = False
) -> pd.DataFrame:
    """Random truth and informative random probabilities; every class is there, some patients repeat."""
    rng = np.random.default_rng(seed)
    if task == "multilabel":
        truth = (rng.random((samples, count)) < rng.uniform(0.2, 0.7, count)).astype(int)
        logits = rng.normal(size=(samples, count)) + 2 * truth - 1
        probabilities = 1 / (1 + np.exp(-logits))
        targets: dict[str, Any] = {f"target/c{k}": truth[:, k] for k in range(count)}
    else:
        target = np.r_[np.arange(count), np.arange(count), rng.choice(count, samples - 2 * count)]
        logits = rng.normal(size=(samples, count)) + 1.2 * np.eye(count)[target]
        if ties:
            logits = np.round(logits)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets = {"target": target}
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(samples)],
            "group_id": [f"p{i}" for i in rng.integers(0, patients, samples)],
            **targets,
            **{f"prob/c{k}": probabilities[:, k] for k in range(count)},
        }
    )


def arrays(table: pd.DataFrame, task: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    probabilities = table[[f"prob/c{k}" for k in range(count)]].to_numpy()
    columns = [f"target/c{k}" for k in range(count)] if task == "multilabel" else "target"
    return table[columns].to_numpy(), probabilities


@pytest.mark.parametrize(("task", "count"), TASKS[:3])
def test_names_of_the_metrics_are_known_before_there_are_predictions(task: str, count: int) -> None:
    entries = classification_metrics(predictions(task, count), task=task, classes=names(count))
    assert sorted(metric_names(names(count))) == sorted(entries)


def single_label_oracle(y: np.ndarray, prob: np.ndarray, task: str) -> dict[str, float]:
    count = prob.shape[1]
    one_hot, named = np.eye(count, dtype=int)[y], prob.argmax(axis=1)
    options: dict[str, Any] = {"labels": range(count), "zero_division": 0}
    values = {
        "accuracy": sk.accuracy_score(y, named),
        "balanced_accuracy": sk.balanced_accuracy_score(y, named),
        "recall": sk.recall_score(y, named, average="macro", **options),
        "precision": sk.precision_score(y, named, average="macro", **options),
        "f1": sk.f1_score(y, named, average="macro", **options),
        "brier": sk.brier_score_loss(y, prob, labels=range(count), scale_by_half=False),
    }
    if task == "binary":
        values["auroc"] = sk.roc_auc_score(y, prob[:, 1])
        values["average_precision"] = sk.average_precision_score(y, prob[:, 1])
    else:
        values["auroc"] = np.mean([sk.roc_auc_score(y == k, prob[:, k]) for k in range(count)])
        values["average_precision"] = sk.average_precision_score(one_hot, prob, average="macro")
    recall, precision = (f(y, named, average=None, **options) for f in (sk.recall_score, sk.precision_score))
    f1 = sk.f1_score(y, named, average=None, **options)
    for k in range(count):
        values |= {f"recall/c{k}": recall[k], f"precision/c{k}": precision[k], f"f1/c{k}": f1[k]}
        values[f"specificity/c{k}"] = sk.recall_score(y != k, named != k)
        values[f"auroc/c{k}"] = sk.roc_auc_score(y == k, prob[:, k])
        values[f"average_precision/c{k}"] = sk.average_precision_score(y == k, prob[:, k])
    values["specificity"] = np.mean([values[f"specificity/c{k}"] for k in range(count)])
    return values


def multilabel_oracle(y: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    named, count = (prob > 0.5).astype(int), y.shape[1]
    values = {
        "auroc": sk.roc_auc_score(y, prob, average="macro"),
        "average_precision": sk.average_precision_score(y, prob, average="macro"),
        "accuracy": (y == named).mean(),
        "balanced_accuracy": np.mean([sk.balanced_accuracy_score(y[:, k], named[:, k]) for k in range(count)]),
        "recall": sk.recall_score(y, named, average="macro"),
        "precision": sk.precision_score(y, named, average="macro"),
        "f1": sk.f1_score(y, named, average="macro"),
        "brier": np.mean([sk.brier_score_loss(y[:, k], prob[:, k]) for k in range(count)]),
    }
    for k in range(count):
        values[f"recall/c{k}"] = sk.recall_score(y[:, k], named[:, k])
        values[f"specificity/c{k}"] = sk.recall_score(1 - y[:, k], 1 - named[:, k])
        values[f"auroc/c{k}"] = sk.roc_auc_score(y[:, k], prob[:, k])
    return values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("task", "count"), TASKS)
def test_values_agree_with_scikit_learn(task: Any, count: int, seed: int) -> None:
    table = predictions(task, count, seed=seed, ties=seed % 2 == 1)
    ours = classification_metrics(table, task=task, classes=names(count))
    y, prob = arrays(table, task, count)
    expected = multilabel_oracle(y, prob) if task == "multilabel" else single_label_oracle(y, prob, task)
    for name, value in expected.items():
        assert ours[name]["value"] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_auroc_and_accuracy_agree_with_medmnist(task: Any, count: int) -> None:
    evaluator = pytest.importorskip("medmnist.evaluator")
    kind = {
        "binary": "binary-class",
        "multiclass": "multi-class",
        "ordinal": "ordinal-regression",
        "multilabel": "multi-label, binary-class",
    }[task]
    for seed in range(3):
        table = predictions(task, count, seed=10 + seed)
        ours = classification_metrics(table, task=task, classes=names(count))
        y, prob = arrays(table, task, count)
        assert ours["auroc"]["value"] == pytest.approx(evaluator.getAUC(y, prob, kind), abs=1e-9)
        assert ours["accuracy"]["value"] == pytest.approx(evaluator.getACC(y, prob, kind), abs=1e-9)


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_entries_are_plain_complete_and_consistent(task: Any, count: int) -> None:
    ours = classification_metrics(predictions(task, count), task=task, classes=names(count))
    assert json.loads(json.dumps(ours, allow_nan=False)) == ours
    for name, metric in ours.items():
        assert set(metric) == {"value", "ci95", "n", "groups", "method", "no_skill"}, name
        low, high = metric["ci95"]
        assert 0 <= low <= metric["value"] <= high <= 2, name
        assert 1 <= metric["groups"] <= metric["n"] <= 90, name
        assert metric["no_skill"] is not None, name
    families = {name.split("/")[0] for name in ours}
    assert families == {
        *("auroc", "average_precision", "accuracy", "balanced_accuracy", "recall", "precision", "specificity"),
        *("f1", "ece", "brier"),
    }


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_order_of_rows_and_names_of_patients_do_not_matter(task: Any, count: int) -> None:
    table = predictions(task, count)
    shuffled = table.sample(frac=1, random_state=1)
    ours, other = (classification_metrics(t, task=task, classes=names(count)) for t in (table, shuffled))
    for name, metric in ours.items():
        assert other[name]["value"] == pytest.approx(metric["value"], abs=1e-12)
        assert other[name]["ci95"] == pytest.approx(metric["ci95"], abs=1e-9)


def test_monotone_change_of_scores_keeps_the_ranking_metrics() -> None:
    table = predictions("multilabel", 3)
    bent = table.copy()
    for k in range(3):
        bent[f"prob/c{k}"] = bent[f"prob/c{k}"] ** 3 / 2
    ours, other = (classification_metrics(t, task="multilabel", classes=names(3)) for t in (table, bent))
    for name in ("auroc", "average_precision", "auroc/c0"):
        assert other[name]["value"] == pytest.approx(ours[name]["value"])
        assert other[name]["ci95"] == pytest.approx(ours[name]["ci95"])
    assert other["brier"]["value"] != pytest.approx(ours["brier"]["value"])


def test_equal_seeds_are_equal_and_others_differ() -> None:
    table = predictions("multiclass", 3)
    first, again, other = (
        classification_metrics(table, task="multiclass", classes=names(3), seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first["f1"]["ci95"] != other["f1"]["ci95"]
    assert first["f1"]["value"] == other["f1"]["value"]


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_copies_of_every_sample_narrow_no_interval(task: Any, count: int) -> None:
    table = predictions(task, count, 120, 10_000, seed=3)
    copies = pd.concat([table.assign(sample_id=table["sample_id"] + f"-{i}") for i in range(4)])
    once = classification_metrics(table, task=task, classes=names(count))
    repeated = classification_metrics(copies, task=task, classes=names(count))
    apart = classification_metrics(copies.assign(group_id=copies["sample_id"]), task=task, classes=names(count))
    for name in once:
        width, copied, naive = (m[name]["ci95"][1] - m[name]["ci95"][0] for m in (once, repeated, apart))
        assert repeated[name]["value"] == pytest.approx(once[name]["value"], abs=1e-9), name
        assert copied > 1.5 * naive, name
        assert copied == pytest.approx(width, rel=0.1), name


def test_shuffled_labels_have_an_interval_that_holds_chance() -> None:
    held = []
    for seed in range(40):
        table = predictions("multiclass", 4, 120, seed=seed)
        table["target"] = np.random.default_rng(seed).permutation(table["target"])
        low, high = classification_metrics(table, task="multiclass", classes=names(4))["auroc"]["ci95"]
        held.append(low <= 0.5 <= high)
    assert sum(held) >= 34  # of 40 at 95 %, 33 or fewer come up three times in a thousand


def test_no_skill_is_what_a_blind_predictor_gets() -> None:
    table = predictions("multiclass", 4, 200, seed=5)
    frequency = table["target"].value_counts(normalize=True).sort_index()
    blind = table.assign(**{f"prob/c{k}": frequency[k] for k in range(4)})
    ours = classification_metrics(blind, task="multiclass", classes=names(4))
    for name in ("auroc", "accuracy", "balanced_accuracy", "recall", "specificity"):
        assert ours[name]["value"] == pytest.approx(ours[name]["no_skill"]), name
    random, target = np.random.default_rng(0), (table["target"] == 0).to_numpy()
    in_random_order = [sk.average_precision_score(random.permutation(target), -np.arange(200)) for _ in range(1000)]
    assert ours["average_precision/c0"]["no_skill"] == pytest.approx(np.mean(in_random_order), abs=0.003)
    assert ours["brier"]["value"] == pytest.approx(ours["brier"]["no_skill"])
    assert ours["ece"]["value"] == 0  # closer than by chance
    assert ours["ece"]["no_skill"] < 0.03
    majority = f"c{frequency.idxmax()}"
    assert ours[f"precision/{majority}"]["value"] == pytest.approx(ours[f"precision/{majority}"]["no_skill"])
    assert ours["accuracy"]["no_skill"] == frequency.max()


def test_perfect_predictions_are_not_certain() -> None:
    table = predictions("multiclass", 3, 60, 1000)
    perfect = table.assign(**{f"prob/c{k}": (table["target"] == k).astype(float) for k in range(3)})
    ours = classification_metrics(perfect, task="multiclass", classes=names(3))
    for name in ("auroc", "average_precision", "accuracy", "balanced_accuracy", "f1", "precision", "auroc/c0"):
        assert ours[name]["value"] == 1
        assert 0.7 < ours[name]["ci95"][0] < 0.98
        assert ours[name]["ci95"][1] == 1


def test_what_cannot_be_computed_has_a_reason() -> None:
    table = predictions("multiclass", 3)
    table = table[table["target"] != 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = classification_metrics(table, task="multiclass", classes=names(3))
    for name in ("auroc", "auroc/c2", "recall/c2", "balanced_accuracy", "f1", "average_precision", "precision"):
        assert ours[name]["value"] is None
        assert ours[name]["ci95"] is None
        assert "class c2" in ours[name]["reason"]
    for name in ("accuracy", "auroc/c0", "recall/c0", "brier", "ece"):
        assert ours[name]["value"] is not None


def test_a_class_never_predicted_has_no_precision_but_counts_in_the_mean() -> None:
    table = predictions("binary", 2)
    table[["prob/c0", "prob/c1"]] = [0.9, 0.1]
    ours = classification_metrics(table, task="binary", classes=names(2))
    assert ours["precision/c1"]["value"] is None
    assert "predicted as c1" in ours["precision/c1"]["reason"]
    assert ours["precision"]["value"] == pytest.approx((table["target"] == 0).mean() / 2)


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_tiny_tables_do_not_crash(task: Any, count: int) -> None:
    table = predictions(task, count)
    for size in (1, 2, 3):
        for part in (table.head(size), table.head(size).assign(group_id="p")):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ours = classification_metrics(part, task=task, classes=names(count))
            json.dumps(ours, allow_nan=False)
            assert ours["accuracy"]["value"] is not None
            for metric in ours.values():
                assert (metric["value"] is None) == (metric["ci95"] is None) == ("reason" in metric)


def test_threshold_moves_recall_and_not_auroc() -> None:
    table = predictions("binary", 2, 200)
    half, low = (
        classification_metrics(table, task="binary", classes=names(2), decision=decision)
        for decision in ("argmax", 0.1)
    )
    y, prob = arrays(table, "binary", 2)
    assert low["recall/c1"]["value"] == pytest.approx(sk.recall_score(y, prob[:, 1] > 0.1))
    assert low["recall/c1"]["value"] > half["recall/c1"]["value"]
    assert low["auroc"] == half["auroc"]
    with pytest.raises(InputError, match="argmax"):
        classification_metrics(predictions("multiclass", 3), task="multiclass", classes=names(3), decision=0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prob/c1": math.nan}, "NaN"),
        ({"prob/c1": math.inf}, "infinite"),
        ({"prob/c1": 1.7}, "logits"),
        ({"prob/c1": "high"}, "text"),
        ({"prob/c0": 0.1, "prob/c1": 0.1}, "sum to 1"),
        ({"target": 2}, "target"),
        ({"target": 0.5}, "target"),
        ({"sample_id": "same"}, "twice"),
        ({"group_id": None}, "group_id"),
    ],
)
def test_a_broken_table_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_predictions(predictions("binary", 2).assign(**change), task="binary", classes=names(2))


def test_all_problems_come_at_once() -> None:
    table = predictions("binary", 2).assign(target=7, **{"prob/c1": math.nan})
    with pytest.raises(InputError) as caught:
        check_predictions(table, task="binary", classes=names(2), name="predictions/test.csv")
    assert len(caught.value.problems) == 2
    assert all(problem.startswith("predictions/test.csv") for problem in caught.value.problems)


def test_missing_columns_and_rows_are_named() -> None:
    table = predictions("binary", 2)
    with pytest.raises(InputError, match="prob/c1, prob/c2"):
        check_predictions(table.drop(columns="prob/c1"), task="multiclass", classes=names(3))
    with pytest.raises(InputError, match="no rows"):
        check_predictions(table.head(0), task="binary", classes=names(2))
    with pytest.raises(InputError, match="2 classes"):
        check_predictions(predictions("multiclass", 3), task="binary", classes=names(3))


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_a_metric_that_is_computed_by_itself_has_the_bits_that_it_has_among_all(name):
    p = read_predictions(predictions("multilabel", 4, ties=True), task="multilabel", classes=names(4))
    weights = np.random.default_rng(0).poisson(1.0, (50, p.group_count)) + 0.5
    by_itself, among_all = weighted_metrics(p, weights, [name]), weighted_metrics(p, weights)
    assert set(by_itself) == {name, *(f"{name}/{label}" for label in names(4))}
    for key, values in by_itself.items():
        np.testing.assert_array_equal(values, among_all[key])
