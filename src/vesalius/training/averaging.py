"""An exponential moving average of the weights, which leaves constants as they are."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


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
        self.decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the model to where it will be trained: that of a resumed run is not there yet."""
        if stage == "fit":
            self._average_model = Average(pl_module, self.decay, trainer.strategy.root_device)


class Average(AveragedModel):
    """The average of a model's weights and buffers; of whole numbers, and of buffers with infinite ones, the latest.

    All are averaged in a few operations. Unlike torch's, an update reads nothing back from a GPU, which would wait.

    Args:
        model: to copy.
        decay: share of the average that each update keeps.
        device: where the average is; None: with the model.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device | None = None) -> None:
        super().__init__(model, device, use_buffers=True)
        self.decay = decay
        self._averaged: list[bool] = []  # of weights and buffers; empty until the first update

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average a step's weights in; those of the first step are copied."""
        average = [*self.module.parameters(), *self.module.buffers()]
        now = [*model.parameters(), *model.buffers()]
        if not self._averaged:
            self._averaged = [one.is_floating_point() and bool(one.isfinite().all()) for one in now]
            if self.n_averaged == 0:
                torch._foreach_copy_(average, now)
        groups: dict[torch.dtype | None, list[tuple[Tensor, Tensor]]] = {}
        for one, other, averaged in zip(average, now, self._averaged, strict=True):
            groups.setdefault(one.dtype if averaged else None, []).append((one, other))
        for kind, pairs in groups.items():
            before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            if kind is None:
                torch._foreach_copy_(before, after)
            else:  # start + weight * (end - start), which is the start to the bit where both are equal
                torch._foreach_lerp_(before, after, 1 - self.decay)
        self.n_averaged += 1
