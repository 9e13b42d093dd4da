"""What is measured on the validation images after each epoch, to pick a checkpoint.

Final numbers are recomputed from the predictions table, with intervals (`vesalius.evaluation`).
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

# Names of what `ClassificationMetrics.compute` gives.
NAMES = ("auroc", "accuracy", "average_precision")


class ClassificationMetrics(torch.nn.Module):
    """AUROC, accuracy and average precision, fed batch by batch and computed once an epoch, over all ranks.

    Two classes: AUROC and average precision of the second class. More: the mean over classes, each against
    the rest; accuracy is the share of right samples. Multilabel: the mean over labels, for accuracy at 0.5.
    AUROC and average precision are exact (no binning) and keep the probabilities of an epoch.

    Args:
        facts: task and number of classes.
    """

    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.binary = facts.task == "binary"
        classes = facts.num_classes
        metrics: dict[str, Metric | MetricCollection]
        # Arguments were checked long before; checking each batch's values would cost a synchronisation.
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
        """Take in a batch: probabilities (B, K), and class indices (B,) or 0 and 1 (B, K)."""
        self.metrics.update(probabilities[:, 1] if self.binary else probabilities, target.long())

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""
        values: dict[str, Tensor] = self.metrics.compute()
        self.metrics.reset()
        return values
