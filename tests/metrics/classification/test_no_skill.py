"""No-skill values against every constant and random answer there is, by scikit-learn."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score

from vesalius.metrics.classification.no_skill import no_skill_values
from vesalius.metrics.predictions import Predictions, read_predictions


def of_one_class(counts: list[int]) -> Predictions:
    target = np.repeat(np.arange(len(counts)), counts)
    names = [f"c{k}" for k in range(len(counts))]
    table = pd.DataFrame({"sample_id": np.arange(len(target)).astype(str), "target": target})
    table["group_id"] = table["sample_id"]
    table[[f"prob/{name}" for name in names]] = 1 / len(counts)
    return read_predictions(table, task="binary" if len(counts) == 2 else "multiclass", classes=names)


def of_labels(truth: np.ndarray) -> Predictions:
    names = [f"c{k}" for k in range(truth.shape[1])]
    table = pd.DataFrame({"sample_id": np.arange(len(truth)).astype(str)})
    table["group_id"] = table["sample_id"]
    table[[f"target/{name}" for name in names]] = truth
    table[[f"prob/{name}" for name in names]] = 0.5
    return read_predictions(table, task="multilabel", classes=names)


def reached(shares: np.ndarray, answers: np.ndarray, names: list[str]) -> dict[str, float]:
    """What answers drawn with these chances reach where classes have these shares, by weighing all combinations."""
    truth, answer = (side.ravel() for side in np.meshgrid(np.arange(len(shares)), np.arange(len(shares))))
    given: dict[str, Any] = {"sample_weight": shares[truth] * answers[answer]}
    found = {
        "accuracy": accuracy_score(truth, answer, **given),
        "balanced_accuracy": balanced_accuracy_score(truth, answer, **given),
    }
    scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    for name, score in scores.items():
        each = score(truth, answer, average=None, zero_division=0, **given)
        found[name] = each.mean()
        found |= {f"{name}/{label}": each[k] for k, label in enumerate(names)}
    each = [recall_score(truth != k, answer != k, **given) for k in range(len(shares))]
    found["specificity"] = float(np.mean(each))
    return found | {f"specificity/{label}": each[k] for k, label in enumerate(names)}


@pytest.mark.parametrize("counts", [[8, 2], [10, 6, 4]])
def test_nothing_that_needs_no_image_is_better(counts: list[int]) -> None:
    p = of_one_class(counts)
    names, shares = list(p.classes), np.array(counts) / sum(counts)
    steps = 10  # of answers; the classes' own shares are among them
    chances = [
        np.array(parts) / steps
        for parts in itertools.product(range(steps + 1), repeat=len(counts))
        if sum(parts) == steps
    ]
    found = [reached(shares, answers, names) for answers in chances]
    values = no_skill_values(p)
    for name in found[0]:
        assert values[name] == pytest.approx(max(each[name] for each in found), abs=1e-12), name
    squares = [((answers - np.eye(len(counts))) ** 2).sum(axis=1) @ shares for answers in chances]
    assert values["brier"] == pytest.approx(min(squares), abs=1e-12)


def test_the_values_of_a_class_of_a_fifth() -> None:
    values = no_skill_values(of_one_class([80, 20]))
    assert values["f1/c1"] == pytest.approx(1 / 3)
    assert values["f1"] == pytest.approx(0.5)  # always the larger: .444; a fair coin: .451
    majority = reached(np.array([0.8, 0.2]), np.array([1.0, 0.0]), ["c0", "c1"])["f1"]
    coin = reached(np.array([0.8, 0.2]), np.array([0.5, 0.5]), ["c0", "c1"])["f1"]
    assert [round(value, 3) for value in (majority, coin)] == [0.444, 0.451]


def test_labels_are_answered_one_by_one() -> None:
    truth = np.zeros((20, 3), dtype=int)
    for k, count in enumerate((2, 10, 16)):
        truth[:count, k] = 1
    values = no_skill_values(of_labels(truth))
    best = []
    for k in range(3):
        share = truth[:, k].mean()
        found = [
            reached(np.array([1 - share, share]), np.array([1 - q, q]), ["no", "yes"]) for q in np.linspace(0, 1, 21)
        ]
        best.append({name: max(each[name] for each in found) for name in found[0]})
        for name in ("f1", "recall", "specificity", "precision"):
            assert values[f"{name}/c{k}"] == pytest.approx(best[k][f"{name}/yes"], abs=1e-12), name
    for name in ("f1", "recall", "specificity", "precision"):
        assert values[name] == pytest.approx(np.mean([each[f"{name}/yes"] for each in best]), abs=1e-12), name
    for name in ("accuracy", "balanced_accuracy"):
        assert values[name] == pytest.approx(np.mean([each[name] for each in best]), abs=1e-12), name
