"""Accuracy of the samples that are kept, against direct counts."""

import numpy as np
import pytest

from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.decision.abstention import abstention_curve, fit_abstention, score_abstention
from vesalius.metrics.decision.confidence import confidence
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.predictions import read_predictions

TASKS = [("binary", 2), ("multiclass", 3), ("multilabel", 3)]


def curve_of(table, task, classes, decision="argmax"):
    names = [f"c{k}" for k in range(classes)]
    p = read_predictions(table, task=task, classes=names, decision=decision)
    temperature = Calibration("temperature", (0.5,))
    calibration = temperature if task != "multilabel" else Calibration("platt", (0.5,) * 3, (0.3,) * 3)
    return p, calibration, abstention_curve(p, calibration, decision)


@pytest.mark.parametrize(("task", "classes"), TASKS)
def test_of_all_it_is_the_accuracy_with_its_interval(task, classes, sample_table):
    table = sample_table(1, per=2, classes=classes, task=task)
    p, _, curve = curve_of(table, task, classes)
    whole = classification_metrics(table, task=task, classes=p.classes, names=["accuracy"])["accuracy"]
    assert curve["kept"][0] == 1
    assert curve["accuracy"]["value"][0] == pytest.approx(whole["value"])
    assert [curve["accuracy"]["low"][0], curve["accuracy"]["high"][0]] == pytest.approx(whole["ci95"])
    assert (np.diff(curve["kept"]) < 0).all()


@pytest.mark.parametrize(("task", "classes"), TASKS)
def test_the_surest_are_right_more_often(task, classes, sample_table):
    _, _, curve = curve_of(sample_table(2, patients=3000, classes=classes, task=task), task, classes)
    values = curve["accuracy"]["value"]
    assert values[curve["kept"].index(0.5)] > values[0] + 0.05
    assert values[-1] > 0.95


def test_each_share_is_that_of_the_surest_samples(sample_table):
    p, calibration, curve = curve_of(sample_table(3, classes=3), "multiclass", 3)
    sure = confidence(p.probabilities, p.task, calibration, "argmax")[:, 0]
    right = (p.truth & p.decided).any(axis=1)
    order = np.argsort(-sure)
    for kept, value, n in zip(curve["kept"], curve["accuracy"]["value"], curve["n"], strict=True):
        assert n == round(kept * len(sure))
        assert value == pytest.approx(right[order[:n]].mean())


def test_equally_sure_samples_are_kept_or_left_together(sample_table):
    table = sample_table(4, classes=2)
    table["prob/c1"] = table["prob/c1"].round(1)
    table["prob/c0"] = 1 - table["prob/c1"]
    _, _, curve = curve_of(table, "binary", 2)
    assert len(curve["kept"]) <= 6
    assert curve == curve_of(table.sample(frac=1, random_state=0), "binary", 2)[2]


@pytest.mark.parametrize("threshold", [-0.5, 0.1, 0.9])
def test_with_a_threshold_those_near_it_go_first(threshold, sample_table):
    p, calibration, _ = curve_of(sample_table(5, classes=2), "binary", 2, threshold)
    sure, score = confidence(p.probabilities, p.task, calibration, threshold)[:, 0], p.probabilities[:, 1]
    for side in (score > max(threshold, 0), score < max(threshold, 0)):
        if side.any():
            assert (np.argsort(sure[side]) == np.argsort(np.abs(score[side] - max(threshold, 0)))).all()


@pytest.mark.parametrize(("classes", "decision"), [(3, "argmax"), (2, "argmax"), (2, 0.3)])
def test_a_cut_leaves_its_share_and_counts_what_it_keeps(classes, decision, sample_table):
    task = "binary" if classes == 2 else "multiclass"
    val, calibration, _ = curve_of(sample_table(6, per=2, classes=classes), task, classes, decision)
    test, *_ = curve_of(sample_table(7, patients=400, per=2, classes=classes), task, classes, decision)
    cut = fit_abstention(val, calibration, decision, 0.2)
    own = score_abstention(val, calibration, decision, cut)
    assert own["coverage"]["value"] == pytest.approx(0.8, abs=1 / len(val.truth))
    found = score_abstention(test, calibration, decision, cut)
    sure = confidence(test.probabilities, task, calibration, decision)[:, 0]
    right = (test.truth == test.decided).all(axis=1)
    assert found["coverage"]["value"] == pytest.approx(np.mean(sure >= cut))
    assert found["accuracy"]["value"] == pytest.approx(right[sure >= cut].mean())
    assert found["accuracy"]["no_skill"] == pytest.approx(right.mean())
    assert found["accuracy"]["value"] > right.mean()
    assert found["accuracy"]["ci95"][0] < found["accuracy"]["value"] < found["accuracy"]["ci95"][1]
    assert score_abstention(test, calibration, decision, np.inf)["accuracy"]["value"] is None
