"""An exponential moving average of the weights, which leaves constants as they are."""

from functools import partial

import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor


class EMA(EMAWeightAveraging):
    """Lightning's `EMAWeightAveraging`, in which the average of equal numbers is that number.

    Lightning averages buffers too, and 0.99 c + 0.01 c is not always c in floating point: with every step, constants
    such as those of the preprocessing would drift away from what a checkpoint restores.

    Args:
        decay: share of the average that each update keeps.
        update_every_n_steps: steps of the optimiser between two updates.
        update_starting_at_step: first step to average; None for the first of all, unless an epoch is given.
        update_starting_at_epoch: first epoch to average, likewise.
    """

    def __init__(
        self,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
    ) -> None:
        super().__init__(
            decay=decay,
            update_every_n_steps=update_every_n_steps,
            update_starting_at_step=update_starting_at_step,
            update_starting_at_epoch=update_starting_at_epoch,
        )
        self._kwargs["avg_fn"] = partial(_average, decay=decay)


def _average(before: Tensor, now: Tensor, updates: Tensor | int, *, decay: float) -> Tensor:
    """As torch calls it: the average so far, the value of this step, and how often it was updated."""
    return torch.where(before == now, before, decay * before + (1 - decay) * now)
