"""The methods of explanation by name, and the one way to all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.deploy.backend import Backend
from vesalius.deploy.explain.occlusion import occlusion, time_point_losses
from vesalius.deploy.inputs import ModelInput
from vesalius.metrics.classification.decision_rule import DecisionRule

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """What one input's prediction rests on.

    Attributes:
        maps: (T, H, W) relevance of each pixel of each frame, 0..1, 1 at the most relevant; T is 1 for an image. All 0
            where nothing speaks for the target.
        weights: (T,) relevance of each time point, 0 or more, with the sum 1.
        target: number of the class or continuous target that is explained.
    """

    maps: NDArray[np.float32]
    weights: NDArray[np.float32]
    target: int


def _occlude(backend: Backend, one: ModelInput, target: int) -> tuple[Floats, Floats]:
    place = np.maximum(occlusion(backend, one, target), 0)
    weights = as_weights(time_point_losses(backend, one, target))
    return place[None] * weights[:, None, None], weights


#: Each takes a model, an input and the number of a target, and returns relevance: (T, H, W) of pixels and (T,) of time
#: points, both 0 or more.
Method = Callable[[Backend, ModelInput, int], tuple[Floats, Floats]]

METHODS: dict[str, Method] = {"occlusion": _occlude}


def explain(
    backend: Backend, inputs: Sequence[ModelInput], *, method: str = "auto", target: str | int | None = None
) -> NDArray[np.float32]:
    """Maps of where the model finds what it predicts.

    Args:
        backend: the model.
        inputs: N images or series.
        method: a name of `METHODS`; `auto`: the best that the backend can do.
        target: name or number of the class or continuous target to explain; None: the predicted class, or the first
            target.

    Returns:
        (N, T, H, W) relevance in 0..1; T is 1 for images. Shorter series than the longest end in zeros.

    Raises:
        InputError: for an unknown method or target, and a method that this model does not allow.
    """
    found = explanations(backend, inputs, method=method, target=target)
    longest = max((len(one.maps) for one in found), default=0)
    return np.stack([np.pad(one.maps, ((0, longest - len(one.maps)), (0, 0), (0, 0))) for one in found])


def explanations(
    backend: Backend, inputs: Sequence[ModelInput], *, method: str = "auto", target: str | int | None = None
) -> list[Explanation]:
    """The explanation of each input, with the weights of its time points; parameters as for `explain`."""
    chosen = choose_method(backend, method)
    result = []
    for one, number in zip(inputs, _targets(backend, inputs, target), strict=True):
        relevance, weights = METHODS[chosen](backend, one, number)
        most = relevance.max()
        maps = relevance / most if most > 0 else np.zeros_like(relevance)
        result.append(Explanation(maps.astype(np.float32), weights.astype(np.float32), number))
    return result


def choose_method(backend: Backend, method: str) -> str:
    """The name of a method.

    Raises:
        InputError: for a method that does not exist.
    """
    if method == "auto":
        return "occlusion"
    if method not in METHODS:
        raise InputError(f"explain={method}: there is no such method.{did_you_mean(method, ['auto', *METHODS])}")
    return method


def as_weights(relevance: Floats) -> Floats:
    """Relevance of time points as weights with the sum 1: below 0 counts as 0; all are equal where none is above."""
    positive = np.maximum(relevance, 0)
    total = positive.sum()
    return positive / total if total > 0 else np.full(len(positive), 1 / len(positive))


def _targets(backend: Backend, inputs: Sequence[ModelInput], target: str | int | None) -> list[int]:
    """The number of each input's target."""
    classes = list(backend.facts.classes)
    if isinstance(target, str):
        if target not in classes:
            raise InputError(f"target={target}: there is no such class or target.{did_you_mean(target, classes)}")
        target = classes.index(target)
    if target is not None:
        if not 0 <= target < len(classes):
            raise InputError(f"target={target}: the model has the targets 0 to {len(classes) - 1}.")
        return [target] * len(inputs)
    if backend.facts.task == "regression":
        return [0] * len(inputs)
    probabilities = backend.compute(inputs).values
    if not backend.facts.single_label:
        return [int(row.argmax()) for row in probabilities]
    decided = DecisionRule.of_metrics(backend.metrics, backend.facts).decide(probabilities)
    return [classes.index(name) for name in decided]
