"""Tables of curves and counts, against scikit-learn on all predictions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, confusion_matrix, roc_auc_score

from vesalius.metrics.classification.confusion import confusion_counts, confusion_table
from vesalius.metrics.classification.curves import precision_recall_table, reliability_table, roc_table
from vesalius.metrics.predictions import Predictions, read_predictions

CLASSES = ["cyst", "healthy", "nodule"]


def make_predictions(task: str, classes: list[str], samples: int = 300) -> Predictions:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(samples, len(classes)))
    table = pd.DataFrame({"sample_id": np.arange(samples).astype(str), "group_id": np.arange(samples).astype(str)})
    if task == "multilabel":
        truth = generator.random((samples, len(classes))) < 0.4
        table[[f"target/{name}" for name in classes]] = truth.astype(int)
        probabilities = 1 / (1 + np.exp(-logits - truth))
    else:
        target = generator.integers(len(classes), size=samples)
        logits[np.arange(samples), target] += 1
        table["target"] = target
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table[[f"prob/{name}" for name in classes]] = probabilities
    return read_predictions(table, task=task, classes=classes)


@pytest.mark.parametrize(
    ("task", "classes", "shown"),
    [
        ("binary", CLASSES[:2], CLASSES[1:2]),
        ("multiclass", CLASSES, CLASSES),
        ("multilabel", CLASSES, CLASSES),
    ],
)
def test_areas_below_the_curves_are_those_of_all_points(task, classes, shown):
    p = make_predictions(task, classes)
    roc, recall = roc_table(p, max_points=10_000), precision_recall_table(p, max_points=10_000)
    assert list(roc["class"].unique()) == list(recall["class"].unique()) == shown
    for name in shown:
        k = classes.index(name)
        curve = roc[roc["class"] == name]
        assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(roc_auc_score(p.truth[:, k], p.probabilities[:, k]))
        steps = recall[recall["class"] == name]
        area = -np.sum(np.diff(steps["recall"]) * steps["precision"].to_numpy()[:-1])
        assert area == pytest.approx(average_precision_score(p.truth[:, k], p.probabilities[:, k]))


def test_a_threshold_gives_its_point_of_the_curve():
    p = make_predictions("binary", CLASSES[:2])
    for point in roc_table(p, max_points=30).itertuples():
        positive = p.probabilities[:, 1] >= point.threshold
        assert point.tpr == positive[p.truth[:, 1]].mean()
        assert point.fpr == positive[~p.truth[:, 1]].mean()


def test_few_points_keep_both_ends_and_lie_on_the_curve():
    p = make_predictions("multiclass", CLASSES)
    every, few = roc_table(p, max_points=10_000), roc_table(p, max_points=20)
    for name in CLASSES:
        part = few[few["class"] == name]
        assert len(part) <= 20
        assert part[["fpr", "tpr"]].to_numpy()[[0, -1]].tolist() == [[0, 0], [1, 1]]
        whole = set(map(tuple, every.loc[every["class"] == name, ["fpr", "tpr"]].to_numpy()))
        assert set(map(tuple, part[["fpr", "tpr"]].to_numpy())) <= whole


def test_a_class_that_nobody_has_draws_no_curve():
    p = make_predictions("multiclass", CLASSES)
    truth = p.truth.copy()
    truth[truth[:, 0]] = [False, True, False]
    one = Predictions(p.task, p.classes, truth, p.probabilities, p.decided, p.groups)
    assert list(roc_table(one)["class"].unique()) == CLASSES[1:]
    everybody = np.tile([False, True, False], (len(truth), 1))
    none = Predictions(p.task, p.classes, everybody, p.probabilities, p.decided, p.groups)
    assert roc_table(none).empty
    assert precision_recall_table(none).empty


def test_counts_are_those_of_scikit_learn():
    p = make_predictions("multiclass", CLASSES)
    table = confusion_table(p)
    expected = confusion_matrix(p.truth.argmax(1), p.decided.argmax(1))
    found = table.pivot(index="true", columns="predicted", values="count").loc[CLASSES, CLASSES]
    assert found.to_numpy().tolist() == expected.tolist()


def test_each_of_several_labels_is_counted_against_its_absence():
    p = make_predictions("multilabel", CLASSES)
    table = confusion_table(p).set_index(["true", "predicted"])["count"]
    for k, name in enumerate(CLASSES):
        (clear, alarm), (missed, found) = confusion_matrix(p.truth[:, k], p.decided[:, k])
        assert table[f"no {name}", f"no {name}"] == clear
        assert table[f"no {name}", name] == alarm
        assert table[name, f"no {name}"] == missed
        assert table[name, name] == found


def test_counts_by_class_and_by_label_are_those_of_the_table():
    single, several = make_predictions("multiclass", CLASSES), make_predictions("multilabel", CLASSES)
    found = confusion_counts(single)
    assert found.counts.ravel().tolist() == confusion_table(single)["count"].tolist()
    assert found.rows == found.columns == tuple(CLASSES)
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)
    found, table = confusion_counts(several), confusion_table(several).set_index(["true", "predicted"])["count"]
    for name, row, shares in zip(found.rows, found.counts, found.shares, strict=True):
        no = f"no {name}"
        assert row.tolist() == [table[name, name], table[name, no], table[no, name], table[no, no]]
        assert shares[:2].sum() == pytest.approx(1)
        assert shares[2:].sum() == pytest.approx(1)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_bins_of_reliability_hold_every_prediction(task):
    p = make_predictions(task, CLASSES)
    table = reliability_table(p)
    assert table["predictions"].sum() == len(p.truth) * (1 if task == "multiclass" else len(CLASSES))
    assert ((table["confidence"] > table.index / 15) & (table["confidence"] <= (table.index + 1) / 15)).all()
    correct = (
        (p.probabilities.argmax(1) == p.truth.argmax(1)) if task == "multiclass" else (p.probabilities > 0.5) == p.truth
    )
    assert (table["correct"] * table["predictions"]).sum() == pytest.approx(correct.sum())
