"""The loss that fits a task."""

from typing import Literal, get_args

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.losses import classification, regression
from vesalius.models.losses.classification import ClassificationLoss, ClassWeights
from vesalius.models.losses.regression import RegressionLoss


def build_task_loss(
    facts: Facts,
    *,
    kind: Literal["auto", "cross_entropy", "bce", "focal", "mse", "l1", "huber"] = "auto",
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    class_weights: ClassWeights = "none",
) -> ClassificationLoss | RegressionLoss:
    """Build a `RegressionLoss` for continuous targets, else a `ClassificationLoss`, which explain the options.

    Raises:
        InputError: for options of the other task.
    """
    regresses = facts.task == "regression"
    kinds = get_args(regression.Kind if regresses else classification.Kind)
    if kind not in kinds:
        raise InputError(f"model.loss.kind={kind}: for task {facts.task}, choose one of {', '.join(kinds)}.")
    if not regresses:
        return ClassificationLoss(
            facts,
            kind=kind,  # type: ignore[arg-type]  # checked above
            label_smoothing=label_smoothing,
            gamma=gamma,
            class_weights=class_weights,
        )
    if label_smoothing or class_weights != "none":
        raise InputError("model.loss: a regression has no classes to smooth or weigh: leave those options out.")
    return RegressionLoss(facts, kind=kind)  # type: ignore[arg-type]  # checked above
