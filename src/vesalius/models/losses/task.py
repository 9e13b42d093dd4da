"""The loss that a task calls for."""

from typing import Literal

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.regression import RegressionLoss


def build_task_loss(
    facts: Facts,
    *,
    kind: Literal["auto", "cross_entropy", "bce", "focal", "mse", "l1", "huber"] = "auto",
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    class_weights: Literal["none", "balanced"] | list[float] = "none",
) -> ClassificationLoss | RegressionLoss:
    """Build a `RegressionLoss` for quantities, else a `ClassificationLoss`, where the options are explained.

    Raises:
        InputError: for options that the task has no use for.
    """
    if facts.task != "regression":
        return ClassificationLoss(
            facts,
            kind=kind,  # type: ignore[arg-type]  # it refuses the others itself
            label_smoothing=label_smoothing,
            gamma=gamma,
            class_weights=class_weights,
        )
    if label_smoothing or class_weights != "none":
        raise InputError("model.loss: a regression has no classes to smooth or weigh: leave those options out.")
    return RegressionLoss(facts, kind=kind)  # type: ignore[arg-type]  # likewise
