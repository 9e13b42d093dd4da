"""The gradient of a step over several batches, as the mean over everything that they hold."""

from collections.abc import Iterable

from torch import Tensor, nn


class AccumulatedMean:
    """Corrects Lightning's accumulated gradients, which are a sum over batches divided by their intended number.

    So the last step of an epoch is too small where fewer batches are left, and a small batch counts as much as a full
    one. Losses are scaled by what their means were divided by, relative to the first batch of the step, which keeps
    them at the scale that 16 bits need; before the step, gradients are divided by what the batches hold in all.
    """

    def __init__(self) -> None:
        self._weights: list[Tensor | float] = []

    def reset(self) -> None:
        """Start a step."""
        self._weights = []

    def scale(self, loss: Tensor, weight: Tensor | float) -> Tensor:
        """The loss to differentiate for a batch, whose mean loss was divided by `weight`."""
        self._weights.append(weight)
        return loss if len(self._weights) == 1 else loss * (weight / self._weights[0])

    def correct(self, parameters: Iterable[nn.Parameter], divided_by: int) -> None:
        """Turn gradients of sums that were divided by a number of batches into those of the mean; start a step."""
        if not self._weights:
            return
        factor = self._weights[0] * divided_by / sum(self._weights)
        self.reset()
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
