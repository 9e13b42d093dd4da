import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from vesalius.models.epoch_metrics.classification import ClassificationMetrics


def fed(facts, probabilities, target, pieces):
    metrics = ClassificationMetrics(facts)
    for part, goal in zip(probabilities.tensor_split(pieces), target.tensor_split(pieces), strict=True):
        metrics.update(part, goal)
    return {name: float(value) for name, value in metrics.compute().items()}, metrics


@pytest.mark.parametrize("pieces", [1, 3])
def test_two_classes_agree_with_scikit_learn(make_facts, pieces):
    torch.manual_seed(1)
    probabilities, target = torch.randn(90, 2).softmax(1), torch.randint(0, 2, (90,))
    got, _ = fed(make_facts("binary", classes=2), probabilities, target, pieces)
    positive = probabilities[:, 1].numpy()
    assert got == pytest.approx(
        {
            "auroc": roc_auc_score(target, positive),
            "accuracy": accuracy_score(target, positive > 0.5),
            "average_precision": average_precision_score(target, positive),
        }
    )


@pytest.mark.parametrize("task", ["multiclass", "ordinal"])
def test_more_classes_agree_with_scikit_learn(make_facts, task):
    torch.manual_seed(2)
    probabilities, target = torch.randn(90, 4).softmax(1), torch.randint(0, 4, (90,))
    got, _ = fed(make_facts(task, classes=4), probabilities, target, 3)
    assert got == pytest.approx(
        {
            "auroc": roc_auc_score(target, probabilities, multi_class="ovr"),
            "accuracy": accuracy_score(target, probabilities.argmax(1)),
            "average_precision": average_precision_score(np.eye(4)[target], probabilities),
        }
    )


def test_labels_agree_with_scikit_learn(make_facts):
    torch.manual_seed(3)
    probabilities, target = torch.rand(90, 3), torch.randint(0, 2, (90, 3)).float()
    got, _ = fed(make_facts("multilabel"), probabilities, target, 3)
    assert got == pytest.approx(
        {
            "auroc": roc_auc_score(target, probabilities),
            "accuracy": float(((probabilities > 0.5) == target.bool()).float().mean()),
            "average_precision": average_precision_score(target, probabilities),
        }
    )


def test_an_epoch_forgets_the_one_before(make_facts):
    good, target = torch.eye(2).repeat(5, 1), torch.tensor([0, 1] * 5)
    facts = make_facts("binary", classes=2)
    first, metrics = fed(facts, 1 - good, target, 2)
    metrics.update(good, target)
    assert first == dict.fromkeys(metrics.names, pytest.approx(0.0)) | {"average_precision": pytest.approx(0.5)}
    assert {name: float(value) for name, value in metrics.compute().items()} == dict.fromkeys(metrics.names, 1.0)
    assert metrics.state_dict() == {}
