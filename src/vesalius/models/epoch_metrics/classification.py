"""Metrics of classification on the validation data, computed after each epoch to pick a checkpoint.

Final numbers are computed from the predictions table, with intervals (`vesalius.metrics.classification`).
"""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MultilabelAccuracy,
    MultilabelAUROC,
    MultilabelAveragePrecision,
)

from vesalius.config.facts import Facts


class ClassificationMetrics(torch.nn.Module):
    """AUROC, accuracy and average precision, updated per batch and computed once per epoch, over all devices.

    Two classes: AUROC and average precision of the second class. More: the mean over classes, each against the rest;
    accuracy is the share of correct samples. Multilabel: the mean over labels, with a threshold of 0.5 for accuracy.
    AUROC and average precision are exact (no binning) and store the probabilities of an epoch.

    Args:
        facts: task and number of classes.
    """

    names: ClassVar[tuple[str, ...]] = ("auroc", "accuracy", "average_precision")

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.binary = facts.task == "binary"
        classes = facts.num_classes
        metrics: dict[str, Metric | MetricCollection]
        # Arguments are checked elsewhere; checking the values of each batch would cost a synchronisation.
        if self.binary:
            metrics = {
                "auroc": BinaryAUROC(validate_args=False),
                "accuracy": BinaryAccuracy(validate_args=False),
                "average_precision": BinaryAveragePrecision(validate_args=False),
            }
        elif facts.single_label:
            metrics = {
                "auroc": MulticlassAUROC(classes, validate_args=False),
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "average_precision": MulticlassAveragePrecision(classes, validate_args=False),
            }
        else:
            metrics = {
                "auroc": MultilabelAUROC(classes, validate_args=False),
                "accuracy": MultilabelAccuracy(classes, validate_args=False),
                "average_precision": MultilabelAveragePrecision(classes, validate_args=False),
            }
        self.metrics = MetricCollection(metrics)

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Add a batch: probabilities (B, K), and class indices (B,) or, for multilabel, 0 and 1 (B, K)."""
        self.metrics.update(probabilities[:, 1] if self.binary else probabilities, target.long())

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name, and reset for the next epoch."""
        values: dict[str, Tensor] = self.metrics.compute()
        self.metrics.reset()
        return values
