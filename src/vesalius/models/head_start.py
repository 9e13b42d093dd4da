"""A head that starts where regression on the net's features ends."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.baselines.linear_models import LinearModel, fit_linear, standardise, truth_matrix
from vesalius.metrics.baselines.quadratic_models import QuadraticModel, fit_quadratic
from vesalius.models.family import Batch
from vesalius.models.nets.heads import QuadraticHead

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
    """Set a head to the regression on standardised features whose penalty does best on validation.

    Logistic regression, or ridge for continuous targets, solved to convergence, as the baselines are; of a
    `QuadraticHead` the quadratic form. Kumar et al. 2022
    (Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution) start fine-tuning from it.

    Args:
        head: is or holds a `QuadraticHead`, or ends in its only linear layer.
        features: of a batch, (B, F).
        train: batches of training samples as they are.
        val: batches of validation samples.
        targets: from those of a batch to the scale of the outputs.
        task: how classes relate to a sample, or `regression`.

    Raises:
        InputError: for a head of more layers.
    """
    quadratic = next((part for part in head.modules() if isinstance(part, QuadraticHead)), None)
    layers = [part for part in (quadratic.linear if quadratic else head).modules() if isinstance(part, nn.Linear)]
    if len(layers) != 1:
        raise InputError(
            "model.fit_head=true: only a head of one linear layer, or a quadratic one, can be fitted: set "
            "model.net.head=linear or quadratic."
        )
    (layer,) = layers
    (x, y), (val_x, val_y) = (_collect(features, batches, targets) for batches in (train, val))
    scaled, val_scaled = standardise(x, val_x)
    truth, val_truth = (truth_matrix(one, task, layer.out_features) for one in (y, val_y))
    # Standardised features are x * scale - shift * scale.
    start, end = standardise(x, np.stack([np.zeros(x.shape[1]), np.ones(x.shape[1])]))[1]
    scale, shift = end - start, np.divide(-start, end - start, out=np.zeros_like(start), where=end > start)
    if quadratic is None:
        _set_linear(layer, fit_linear(scaled, truth, val_scaled, val_truth, task), scale, shift)
    else:
        _set(quadratic.shift, shift)
        _set(quadratic.scale, scale)
        _set_form(quadratic, fit_quadratic(scaled, truth, val_scaled, val_truth, task))


def _set_linear(layer: nn.Linear, fitted: LinearModel, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
    weight = fitted.weight * scale
    _set(layer.weight, weight)
    _set(layer.bias, (fitted.bias - weight @ shift).clip(-_NEVER, _NEVER))


def _set_form(head: QuadraticHead, form: QuadraticModel) -> None:
    _set(head.linear.weight, np.zeros(head.linear.weight.shape))
    _set(head.linear.bias, form.bias.clip(-_NEVER, _NEVER))
    _set(head.directions.weight, form.directions.reshape(head.directions.weight.shape))
    _set(head.directions.bias, form.offsets.ravel())
    _set(head.squares.weight, (np.eye(len(form.weights))[:, :, None] * form.weights).reshape(head.squares.weight.shape))


def _set(place: Tensor, values: NDArray[np.float64]) -> None:
    with torch.no_grad():
        place.copy_(torch.from_numpy(values))


def _collect(
    features: Callable[[Batch], Tensor], batches: Iterable[Batch], targets: Callable[[Tensor], Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [(features(batch).double().cpu(), targets(batch["target"]).cpu()) for batch in batches]
    return torch.cat([x for x, _ in found]).numpy(), torch.cat([y for _, y in found]).numpy()
