"""A head that starts at regression: the outputs are those of scikit-learn on standardised features."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import Normalizer, StandardScaler
from torch import nn

from vesalius.config.errors import InputError
from vesalius.metrics.baselines import linear_models, quadratic_models
from vesalius.models.head_start import fit_head
from vesalius.models.nets.heads import QuadraticHead


def batches(task: str, seed: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 5, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0, 0.0]) + 2
    score = x[:, 0] + 5 * x[:, 2] + torch.randn(60, generator=generator)
    target = {
        "binary": (score > score.mean()).long(),
        "multiclass": torch.bucketize(score, torch.quantile(score, torch.tensor([0.3, 0.6]))),
        "multilabel": torch.stack([score > score.mean(), x[:, 1] > 0], dim=1).float(),
        "regression": torch.stack([score, x[:, 3]], dim=1),
    }[task]
    return [{"x": a, "target": b} for a, b in zip(x.split(25), target.split(25), strict=True)]


def expected(task: str, penalty: float, train: np.ndarray, y: np.ndarray, others: np.ndarray) -> np.ndarray:
    scaler = StandardScaler().fit(train)
    a, b = scaler.transform(train), scaler.transform(others)
    if task == "regression":
        return Ridge(alpha=1 / penalty).fit(a, y).predict(b)
    if task == "multilabel":
        fits = [LogisticRegression(C=penalty, max_iter=1000).fit(a, y[:, k]) for k in range(2)]
        return np.column_stack([fit.predict_proba(b)[:, 1] for fit in fits])
    return LogisticRegression(C=penalty, max_iter=1000).fit(a, y).predict_proba(b)


@pytest.mark.parametrize(("task", "outputs"), [("binary", 2), ("multiclass", 3), ("multilabel", 2), ("regression", 2)])
def test_outputs_are_those_of_scikit_learn(task, outputs, monkeypatch) -> None:
    monkeypatch.setattr(linear_models, "PENALTIES", (0.1,))
    monkeypatch.setattr(linear_models, "RIDGE_PENALTIES", (0.1,))
    train, val = batches(task, 0), batches(task, 1)
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, outputs))
    fit_head(head, lambda batch: batch["x"], train, val, torch.Tensor.cpu, task)
    x, y, others = (torch.cat([b[k] for b in part]) for part, k in ((train, "x"), (train, "target"), (val, "x")))
    with torch.inference_mode():
        found = head.eval()(others)
    convert = {"regression": lambda z: z, "multilabel": torch.sigmoid}.get(task, lambda z: z.softmax(dim=1))
    np.testing.assert_allclose(convert(found), expected(task, 0.1, x.numpy(), y.numpy(), others.numpy()), atol=2e-3)


def test_a_class_that_training_lacks_is_never_predicted() -> None:
    train = batches("binary", 0)
    head = nn.Linear(5, 3)
    fit_head(head, lambda batch: batch["x"], train, train, torch.Tensor.cpu, "multiclass")
    with torch.inference_mode():
        assert head(train[0]["x"]).softmax(dim=1)[:, 2].max() < 1e-6
    assert all(parameter.isfinite().all() for parameter in head.parameters())


def test_a_head_of_several_layers_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.net\.head=linear"):
        fit_head(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), lambda b: b["x"], [], [], torch.Tensor.cpu, "binary")


def pairs(task: str, seed: int) -> list[dict[str, torch.Tensor]]:
    """Targets that only the product of two features tells."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(120, 6, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0, 0.0]) + 2
    score = (x[:, 0] - 2) * (x[:, 1] - 2) / 10 + 0.1 * torch.randn(120, generator=generator)
    target = {
        "binary": (score > 0).long(),
        "multiclass": torch.bucketize(score, torch.tensor([-0.4, 0.4])),
        "multilabel": torch.stack([score > 0, x[:, 1] * x[:, 2] > 0.4], dim=1).float(),
        "regression": torch.stack([score, 3 * score + x[:, 3]], dim=1),
    }[task]
    return [{"x": a, "target": b} for a, b in zip(x.split(50), target.split(50), strict=True)]


@pytest.mark.parametrize(("task", "outputs"), [("binary", 2), ("multiclass", 3), ("multilabel", 2), ("regression", 2)])
def test_pairs_are_found_by_kernel_ridge_regression(task, outputs, monkeypatch) -> None:
    monkeypatch.setattr(quadratic_models, "OFFSETS", (0.3,))
    monkeypatch.setattr(quadratic_models, "PENALTIES", (0.1,))
    train, val = pairs(task, 0), pairs(task, 1)
    head = QuadraticHead(6, outputs)
    fit_head(head, lambda batch: batch["x"], train, val, torch.Tensor.cpu, task)
    x, y, others = (
        torch.cat([b[k] for b in part]).numpy() for part, k in ((train, "x"), (train, "target"), (val, "x"))
    )
    a, b = (Normalizer().transform(StandardScaler().fit(x).transform(one)) for one in (x, others))
    truth = y if task == "regression" else 2.0 * (np.eye(outputs)[y] if y.ndim == 1 else y) - 1
    kernel = KernelRidge(alpha=0.1, kernel="polynomial", degree=2, gamma=1.0, coef0=0.3)
    scores = kernel.fit(a, truth - truth.mean(axis=0)).predict(b) + truth.mean(axis=0)
    with torch.inference_mode():
        found = head.eval()(torch.from_numpy(others)).numpy()
    gain = (found * scores).sum() / (scores**2).sum()
    np.testing.assert_allclose(found, gain * scores, atol=2e-3 * gain)
    assert gain == pytest.approx(1.0) if task == "regression" else gain > 1


def test_more_samples_than_directions_and_a_missing_class() -> None:
    train = pairs("binary", 0)
    head = QuadraticHead(6, 3)
    fit_head(head, lambda batch: batch["x"], train, train, torch.Tensor.cpu, "multiclass")
    with torch.inference_mode():
        probabilities = head(train[0]["x"]).softmax(dim=1)
    assert probabilities[:, 2].max() < 1e-6
    assert (probabilities.argmax(dim=1) == train[0]["target"]).float().mean() > 0.9
