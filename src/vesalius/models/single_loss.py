"""What the families share that train with one loss: optimiser, freezing, running loss, a guard against divergence."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.config.errors import InputError
from vesalius.models.epoch_metrics.weighted_mean import WeightedMean
from vesalius.models.family import Batch, FamilyModule
from vesalius.models.finetune import Finetune
from vesalius.models.nets.base import Staged
from vesalius.models.schedules import build_schedule

# Looking at a loss on an accelerator waits for it; on the CPU every step is looked at.
_STEPS_BETWEEN_LOOKS = 50


class EpochMetrics(Protocol):
    """Metrics of an epoch, fed in validation steps."""

    @property
    def names(self) -> tuple[str, ...]:
        """What `compute` gives."""

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""


def trained_encoder(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights among those of an `autoencoder` run, by their names within it and without its head.

    Nothing of another family's run.
    """
    if not any(name.startswith("net.decoder.") for name in state_dict):
        return {}
    prefix = "net.encoder."
    names = {name: name.removeprefix(prefix) for name in state_dict if name.startswith(prefix)}
    return {inner: state_dict[name] for name, inner in names.items() if not inner.startswith("head.")}


class SingleLossModule(FamilyModule):
    """A net, an optimiser and a schedule; a family adds what its batches, `loss` and predictions are.

    A `loss` whose mean is a weighted one has a method `batch_weight(target)`: what it is divided by.

    Args:
        net: what learns.
        val_metrics: what is measured on the validation data, besides the loss.
        optimizer: called with parameter groups.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts learn when; None: everything, always, at one rate.
        channels_last: keep kernels (and so images) with channels innermost in memory.

    Raises:
        InputError: where the net cannot be treated so.
    """

    loss: nn.Module

    def __init__(
        self,
        *,
        net: nn.Module,
        val_metrics: EpochMetrics,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler] | None,
        finetune: Finetune | None,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.net = net
        self.finetune = Finetune() if finetune is None else finetune
        self.finetune.check(net)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)
        self.check_optimizer(optimizer, "model.optimizer")
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.val_metrics = val_metrics
        self.val_loss = WeightedMean()
        # Not a buffer: an averaged copy of the model must not average it.
        self._loss_sum = torch.zeros(())
        self._loss_samples: Tensor | int = 0
        self._lr = 0.0

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """The whole net; families whose step does not go through its `forward` name others."""
        return [self.net]

    @property
    def has_unused_parameters(self) -> bool:
        """Whether stages are released one after the other."""
        return self.finetune.staged

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs, which depends on the task."""
        return ("train/loss", "val/loss", *(f"val/{name}" for name in self.val_metrics.names))

    def batch_loss(self, batch: Batch) -> Tensor:
        """The mean loss over the samples of a training batch."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss, mean, whole = self.rescale_for_ddp(self.batch_loss(batch), self.loss_weight(batch), len(batch["index"]))
        self._loss_sum = self._loss_sum.to(loss.device) + mean * whole
        self._loss_samples += whole
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if loss.device.type == "cpu" or batch_idx % _STEPS_BETWEEN_LOOKS == 0:
            self._refuse_divergence()
        return loss

    def loss_weight(self, batch: Batch) -> Tensor | float:
        """What the mean loss of a batch was divided by: with it, means of unequal parts are put together."""
        weigh = getattr(self.loss, "batch_weight", None)
        weight: Tensor | float = len(batch["index"]) if weigh is None else weigh(batch["target"])
        return weight

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over the net's parameter groups, and a schedule that steps with it."""
        optimizer = self.finetune.optimizer(self.make_optimizer, self.net)
        self.check_clipping(optimizer, clips=bool(self.trainer.gradient_clip_val))
        if self.make_schedule is None:
            return optimizer
        total = self.total_steps  # asked first: it loads the data that the next line counts
        per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        per_epoch = math.ceil(per_epoch) if math.isfinite(per_epoch) else per_epoch
        schedule = build_schedule(self.make_schedule, optimizer, total_steps=total, steps_per_epoch=per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def load_pretrained(self) -> None:
        """Load the ready-made weights that the config names, if it names any; for a run that starts afresh.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """
        if isinstance(self.net, Staged):
            self.net.load_pretrained()

    def setup(self, stage: str) -> None:
        """Freeze what never learns before a strategy wraps the module, and forget an earlier fit."""
        if stage != "fit":
            return
        self._reset_train_loss()
        if not self.finetune.staged:
            self.finetune.apply(self.net, 0)
            self.net.train()  # modes follow when training starts, past Lightning's warning about them
        elif isinstance(self.trainer.strategy, DDPStrategy) and not self.trainer.strategy._ddp_kwargs.get(
            "find_unused_parameters"
        ):
            raise InputError(
                "model.finetune.unfreeze_every: over several devices, layers that learn only later need "
                "trainer.strategy=ddp_find_unused_parameters_true."
            )

    def on_train_start(self) -> None:
        """Freeze; a run that is resumed in the middle of an epoch does not pass its start."""
        self.finetune.apply(self.net, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        """Release the stages whose time has come."""
        self.finetune.apply(self.net, self.current_epoch)

    def on_validation_start(self) -> None:
        """Stop before a checkpoint could be written after a loss that is none."""
        self._refuse_divergence()

    def on_validation_epoch_end(self) -> None:
        """Log what the epoch's validation came to."""
        loss = self.val_loss.compute()
        self.val_loss.reset()
        if not torch.isfinite(loss):
            raise self.divergence("validation loss", float(loss), self._lr)
        values = {f"val/{name}": value for name, value in self.val_metrics.compute().items()}
        self.log_dict({"val/loss": loss, **values}, sync_dist=False)  # torchmetrics has gathered them over the ranks

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over the epoch's samples, and the learning rate of its last step."""
        self._refuse_divergence()
        if self._loss_samples:
            self.log("train/loss", self._loss_sum / self._loss_samples, sync_dist=True)  # equal on all ranks
            self.log("lr", self._lr)
        self._reset_train_loss()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running loss for a resume in mid-epoch, and never write weights that are no numbers."""
        self._refuse_divergence()
        norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in self.parameters()])
        if not torch.isfinite(norm):
            raise self.divergence("norm of the weights", float(norm), self._lr)
        checkpoint["train_loss"] = {"sum": self._loss_sum.cpu(), "samples": int(self._loss_samples), "lr": self._lr}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the running loss."""
        if "train_loss" in checkpoint:
            self._loss_sum = checkpoint["train_loss"]["sum"]
            self._loss_samples = checkpoint["train_loss"]["samples"]
            self._lr = checkpoint["train_loss"]["lr"]

    def _reset_train_loss(self) -> None:
        self._loss_sum = torch.zeros(())
        self._loss_samples = 0
        self._lr = 0.0

    def _refuse_divergence(self) -> None:
        # A sum stays NaN or infinite, so that one look covers all steps since the epoch began.
        if not torch.isfinite(self._loss_sum):
            raise self.divergence("training loss", float(self._loss_sum), self._lr)
