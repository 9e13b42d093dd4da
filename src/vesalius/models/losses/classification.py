"""The losses of classification, and the probabilities that follow from logits."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts

Kind = Literal["auto", "cross_entropy", "bce", "focal"]
ClassWeights = Literal["none", "balanced"] | list[float]


class ClassificationLoss(nn.Module):
    """A loss over logits (B, K), and the conversion of logits to probabilities.

    Args:
        facts: task and class counts of the data.
        kind: `cross_entropy` (exactly one class per sample), `bce` (binary cross-entropy of each class by itself),
            `focal` (Lin et al. 2017, Focal Loss for Dense Object Detection: well-classified samples count less), or
            `auto`: `bce` for multilabel, else `cross_entropy`.
        label_smoothing: share of the target that is spread evenly over the classes, in [0, 1).
        gamma: of the focal loss; with 0 it is the cross-entropy or BCE.
        class_weights: `none`; `balanced`: in inverse proportion to the classes' counts; or one weight per class. In
            binary losses (`bce`, and `focal` on multilabel) they multiply the positives (`pos_weight`), and balanced
            is negatives over positives.

    Raises:
        InputError: for options that contradict each other, all of them at once; for continuous targets.
    """

    weight: Tensor | None

    def __init__(
        self,
        facts: Facts,
        *,
        kind: Kind = "auto",
        label_smoothing: float = 0.0,
        gamma: float = 2.0,
        class_weights: ClassWeights = "none",
    ) -> None:
        if facts.task == "regression":
            raise InputError(
                "model.loss: the targets are continuous, not classes: choose vesalius.models.RegressionLoss."
            )
        super().__init__()
        self.single_label = facts.single_label
        self.num_classes = facts.num_classes
        self.kind = ("cross_entropy" if facts.single_label else "bce") if kind == "auto" else kind
        self.label_smoothing = label_smoothing
        self.gamma = gamma
        self.per_class = self.kind == "bce" or not self.single_label
        problems: list[str] = []
        if self.kind == "cross_entropy" and not facts.single_label:
            problems.append("model.loss.kind=cross_entropy: a multilabel task needs auto, bce or focal.")
        if not 0 <= label_smoothing < 1:
            problems.append(f"model.loss.label_smoothing={label_smoothing}: must be at least 0 and below 1.")
        if self.kind == "focal" and label_smoothing:
            problems.append("model.loss.label_smoothing: the focal loss has none: set it to 0, or choose another kind.")
        if gamma < 0:
            problems.append(f"model.loss.gamma={gamma}: must not be below 0.")
        weight = _weights(facts, class_weights, self.per_class, problems)
        if problems:
            raise InputError(problems)
        # Not in the state dict: facts and config determine it, and another data set has other counts.
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch.

        Args:
            logits: (B, K), any float type; the loss is computed in float32.
            target: class indices (B,), or for multilabel 0 and 1 (B, K).
        """
        logits = logits.float()
        if self.per_class:
            hot = F.one_hot(target, self.num_classes) if self.single_label else target
            return self._binary_loss(logits, hot.float())
        if self.kind == "focal":
            return self._focal_loss(logits, target)
        return F.cross_entropy(logits, target, self.weight, label_smoothing=self.label_smoothing)

    def batch_weight(self, target: Tensor) -> Tensor | int:
        """What the mean loss of a batch is divided by: its number of samples, or with class weights their sum."""
        if self.weight is None or self.per_class:
            return len(target)
        return self.weight[target].sum()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (B, K), float32; rows sum to 1, except for multilabel."""
        logits = logits.float()
        if not self.single_label:
            return logits.sigmoid()
        if self.per_class:
            return F.logsigmoid(logits).softmax(dim=1)  # sigmoids divided by their sum, even if all underflow
        return logits.softmax(dim=1)

    def _binary_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        smooth = target * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.kind == "bce":
            return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=self.weight)
        loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=self.weight, reduction="none")
        wrong = torch.where(target > 0.5, -logits, logits).sigmoid()  # probability of the wrong label
        return (loss * _power(wrong, self.gamma)).mean()

    def _focal_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        log_right = logits.log_softmax(dim=1).gather(1, target[:, None]).squeeze(1)
        loss = -log_right * _power(-torch.expm1(log_right), self.gamma)
        if self.weight is None:
            return loss.mean()
        weight = self.weight[target]
        return (loss * weight).sum() / weight.sum()  # the same mean as in cross_entropy


def _power(base: Tensor, exponent: float) -> Tensor:
    # Below an exponent of 1 the slope at 0 is infinite, and times a loss of 0 would be NaN.
    return base.clamp_min(torch.finfo(base.dtype).tiny) ** exponent


def _weights(facts: Facts, given: ClassWeights, per_class: bool, problems: list[str]) -> Tensor | None:
    if given == "none":
        return None
    if given == "balanced":
        absent = [name for name, count in zip(facts.classes, facts.class_counts, strict=True) if count == 0]
        if absent:
            problems.append(f"model.loss.class_weights=balanced: no training sample is of {', '.join(absent)}.")
            return None
        counts = torch.tensor(facts.class_counts, dtype=torch.float64)
        if per_class:
            return ((facts.train_size - counts) / counts).float()
        return (counts.sum() / (counts * len(counts))).float()
    if len(given) != facts.num_classes or any(weight <= 0 for weight in given):
        problems.append(
            f"model.loss.class_weights={given}: expected none, balanced, or {facts.num_classes} numbers above 0."
        )
        return None
    return torch.tensor(given, dtype=torch.float32)
