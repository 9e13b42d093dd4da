"""The methods of explanation by name, and the one way to all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.data.formats.images import resize
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
            where nothing speaks for the target, and by gradients where too little does (`LEAST_LOG_ODDS`).
        weights: (T,) relevance of each time point, 0 or more, with the sum 1.
        target: number of the class or continuous target that is explained.
    """

    maps: NDArray[np.float32]
    weights: NDArray[np.float32]
    target: int


#: By how much the odds of a class must be raised, as a logarithm, or its map by gradients is empty: less than 3.2 times
#: is "not worth more than a bare mention" (Jeffreys' scale, as in Kass and Raftery, J. Am. Stat. Assoc. 1995). A map is
#: drawn with its maximum as 1, so that one of random weights, whose outputs hardly leave 0, would look like one of a
#: trained net, and be highest where an image stands out.
LEAST_LOG_ODDS = math.log(3.2)

#: Each takes a model, an input and the number of a target, and returns relevance: (T, H, W) of pixels and (T,) of time
#: points; what is below 0 speaks against the target.
Method = Callable[[Backend, ModelInput, int], tuple[Floats, Floats]]


def _occlude(backend: Backend, one: ModelInput, target: int) -> tuple[Floats, Floats]:
    place = np.maximum(occlusion(backend, one, target), 0)
    weights = as_weights(time_point_losses(backend, one, target))
    return place[None] * weights[:, None, None], weights


def _by_gradients(name: str) -> Method:
    """A method of a backend that has `relevance`; a time point has the relevance of all pixels of its frame.

    Of an ensemble the mean over its members, each with the same total. Empty where neither all places together nor the
    prediction raise the odds of the class to 3.2 times.
    """

    def relevance(backend: Backend, one: ModelInput, target: int) -> tuple[Floats, Floats]:
        found: list[Floats] = [member.relevance(name, one, target) for member in _differentiable(backend)]
        too_little = backend.facts.task != "regression" and np.mean(found, axis=0).sum() < LEAST_LOG_ODDS
        if too_little and _predicted_log_odds(backend, one, target) < LEAST_LOG_ODDS:
            found = [np.zeros_like(maps) for maps in found]
        if len(found) > 1:
            found = [maps / max(np.abs(maps).sum(), np.finfo(np.float64).tiny) for maps in found]
        mean = np.mean(found, axis=0)
        return mean, mean.sum(axis=(1, 2))

    return relevance


def _predicted_log_odds(backend: Backend, one: ModelInput, target: int) -> float:
    """How much greater the odds of a class are than those of its share in validation, as a logarithm.

    What places add up to falls short of it where a head normalises, or a recurrent net saturates; and exceeds it where
    something else speaks against the class.
    """
    calibration = backend.metrics.get("calibration") or {}
    shares = calibration.get("priors") or np.full(len(backend.facts.classes), 1 / len(backend.facts.classes))
    rule = DecisionRule.of_metrics(backend.metrics, backend.facts)
    probability = rule.calibrate(backend.compute([one]).values)[0, target]
    odds = np.array([probability, shares[target]])
    with np.errstate(divide="ignore"):  # of 0 and 1
        predicted, expected = np.log(odds) - np.log1p(-odds)
    return float(predicted - expected)


def _differentiable(backend: Backend) -> list[Any]:
    """The backends that have gradients: this one, or its members; empty where what computes it has none."""
    return [one for one in getattr(backend, "members", [backend]) if hasattr(one, "relevance")]


def _error(backend: Backend, one: ModelInput, target: int) -> tuple[Floats, Floats]:
    """Where an autoencoder's reconstruction is off, or the map of an anomaly detector."""
    errors = np.asarray(backend.compute([one]).errors, np.float64)
    size = (one.images.shape[-2], one.images.shape[-1])
    if errors.shape[1:] != size:  # of the size that the net works in
        errors = np.stack([resize(error[None].astype(np.float32), size, "stretch")[0] for error in errors])
    return errors, errors.sum(axis=(1, 2))


#: Those of the first names need a model that torch computes.
BY_GRADIENTS = ("gradcam", "hirescam", "integrated_gradients")
METHODS: dict[str, Method] = {
    **{name: _by_gradients(name) for name in BY_GRADIENTS},
    "occlusion": _occlude,
    "error": _error,
}


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
    numbers = _targets(backend, inputs, target)
    chosen = choose_method(backend, method)
    if method == "auto" and inputs:
        try:
            METHODS[chosen](backend, inputs[0], numbers[0])
        except InputError:  # a net without feature maps, or no captum
            chosen = "occlusion"
    return [_explain_one(backend, one, number, METHODS[chosen]) for one, number in zip(inputs, numbers, strict=True)]


def _explain_one(backend: Backend, one: ModelInput, target: int, method: Method) -> Explanation:
    relevance, of_times = method(backend, one, target)
    most = max(float(relevance.max()), float(np.finfo(np.float32).tiny))
    maps = (np.maximum(relevance, 0) / most).astype(np.float32)
    return Explanation(maps, as_weights(of_times).astype(np.float32), target)


def choose_method(backend: Backend, method: str) -> str:
    """The name of a method.

    Raises:
        InputError: for a method that does not exist, or that this model does not allow.
    """
    by_torch, reconstructs = bool(_differentiable(backend)), backend.facts.task == "unlabelled"
    if method == "auto":
        return "error" if reconstructs else "hirescam" if by_torch else "occlusion"
    if method not in METHODS:
        raise InputError(f"explain={method}: there is no such method.{did_you_mean(method, ['auto', *METHODS])}")
    if reconstructs != (method == "error"):
        needs = "an autoencoder, whose error it shows" if method == "error" else "predicted classes or targets"
        raise InputError(f"explain={method} needs {needs}: choose explain=auto.")
    if method in BY_GRADIENTS and not by_torch:
        raise InputError(f"explain={method} needs gradients, and this model has none: choose explain=occlusion.")
    return method


def as_weights(relevance: Floats) -> Floats:
    """Relevance of time points as weights with the sum 1: below 0 counts as 0; all are equal where none is above."""
    positive = np.maximum(relevance, 0)
    total = positive.sum()
    return positive / total if total > 0 else np.full(len(positive), 1 / len(positive))


def check_explanation(backend: Backend, method: str, target: str | int | None) -> None:
    """Refuse what `explain` would refuse, before anything is computed.

    Raises:
        InputError: for an unknown method or target, and a method that this model does not allow.
    """
    choose_method(backend, method)
    _number_of(backend, target)


def _number_of(backend: Backend, target: str | int | None) -> int | None:
    """The number of a target that was named; None for none."""
    classes = list(backend.facts.classes)
    if isinstance(target, str):
        if target not in classes:
            raise InputError(f"target={target}: there is no such class or target.{did_you_mean(target, classes)}")
        return classes.index(target)
    if target is not None and not 0 <= target < len(classes):
        raise InputError(f"target={target}: the model has the targets 0 to {len(classes) - 1}.")
    return target


def _targets(backend: Backend, inputs: Sequence[ModelInput], target: str | int | None) -> list[int]:
    """The number of each input's target."""
    classes, number = list(backend.facts.classes), _number_of(backend, target)
    if number is not None:
        return [number] * len(inputs)
    if backend.facts.task in ("regression", "unlabelled"):
        return [0] * len(inputs)
    probabilities = backend.compute(inputs).values
    if not backend.facts.single_label:
        return [int(row.argmax()) for row in probabilities]
    decided = DecisionRule.of_metrics(backend.metrics, backend.facts).decide(probabilities)
    return [classes.index(name) for name in decided]
