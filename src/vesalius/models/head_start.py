"""A linear head that starts where regression on the net's features ends."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.baselines.linear_models import fit_linear, standardise, truth_matrix
from vesalius.models.family import Batch

# Output of a class that training lacks: a probability of 1e-13.
_NEVER = 30.0


def fit_head(
    head: nn.Module,
    features: Callable[[Batch], Tensor],
    train: Iterable[Batch],
    val: Iterable[Batch],
    targets: Callable[[Tensor], Tensor],
    task: Task,
) -> None:
    """Set a linear head to the regression on standardised features whose penalty does best on validation.

    Logistic regression, or ridge for continuous targets, solved to convergence, as the baselines are. Kumar et al. 2022
    (Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution) start fine-tuning from it.

    Args:
        head: ends in its only linear layer.
        features: of a batch, (B, F).
        train: batches of training samples as they are.
        val: batches of validation samples.
        targets: from those of a batch to the scale of the outputs.
        task: how classes relate to a sample, or `regression`.

    Raises:
        InputError: for a head of more layers.
    """
    layers = [part for part in head.modules() if isinstance(part, nn.Linear)]
    if len(layers) != 1:
        raise InputError(
            "model.fit_head=true: only a head of one linear layer can be fitted: set model.net.head=linear."
        )
    (layer,) = layers
    (x, y), (val_x, val_y) = (_collect(features, batches, targets) for batches in (train, val))
    scaled, val_scaled = standardise(x, val_x)
    truth, val_truth = (truth_matrix(one, task, layer.out_features) for one in (y, val_y))
    fitted = fit_linear(scaled, truth, val_scaled, val_truth, task)
    # On the features as they are: w (x - m) / s + b.
    ones = standardise(x, np.stack([np.zeros(x.shape[1]), np.ones(x.shape[1])]))[1]
    weight = fitted.weight * (ones[1] - ones[0])
    bias = (fitted.bias + fitted.weight @ ones[0]).clip(-_NEVER, _NEVER)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))


def _collect(
    features: Callable[[Batch], Tensor], batches: Iterable[Batch], targets: Callable[[Tensor], Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [(features(batch).double().cpu(), targets(batch["target"]).cpu()) for batch in batches]
    return torch.cat([x for x, _ in found]).numpy(), torch.cat([y for _, y in found]).numpy()
