"""An ensemble as one module of torch, so that it can be exported as one graph."""

from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.models.family import Batch

# As in `vesalius.metrics.decision.scaling`: the logarithm of less is not finite in 32 bits.
_TINY, _NEXT_TO_ONE = 2.0**-126, 2.0**-25


def calibrate(probabilities: Tensor, rule: DecisionRule) -> Tensor:
    """Calibrated probabilities (B, K), as `DecisionRule.calibrate` computes them."""
    calibration = rule.calibration
    if calibration is None:
        return probabilities
    logarithms = probabilities.clamp_min(_TINY).log()
    if calibration.method == "temperature":
        return (logarithms * calibration.slopes[0]).softmax(dim=1)
    odds = logarithms - (1 - probabilities).clamp_min(_NEXT_TO_ONE).log()
    slopes, intercepts = (odds.new_tensor(numbers) for numbers in (calibration.slopes, calibration.intercepts))
    return (odds * slopes + intercepts).sigmoid()


class EnsembleModule(pl.LightningModule):
    """The mean of the members' calibrated probabilities, or of their continuous targets.

    Args:
        members: finished models, each with its preprocessing.
        rules: their calibrations.
    """

    def __init__(self, members: Sequence[pl.LightningModule], rules: Sequence[DecisionRule]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.key = "values" if rules[0].task == "regression" else "probabilities"
        self._rules = list(rules)
        self.eval()

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Any]:
        """Return `index` (B,), and `probabilities` or `values` (B, K), float32."""
        outputs = []
        for member, rule in zip(self.members, self._rules, strict=True):
            values = cast(pl.LightningModule, member).predict_step(batch, batch_idx)[self.key]
            outputs.append(calibrate(values, rule) if self.key == "probabilities" else values)
        return {"index": batch["index"], self.key: torch.stack(outputs).mean(dim=0)}
