"""What families with a single loss share: optimiser, schedule, freezing, the epoch's mean loss, divergence checks."""

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
from vesalius.models.accumulated_mean import AccumulatedMean
from vesalius.models.epoch_metrics.weighted_mean import WeightedMean
from vesalius.models.family import Batch, ChannelsLast, FamilyModule
from vesalius.models.finetune import Finetune
from vesalius.models.nets.depthwise import use_depthwise
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.schedules import build_schedule


class EpochMetrics(Protocol):
    """Metrics of an epoch, updated in validation steps."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what `compute` returns."""

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name, and reset for the next epoch."""


def trained_encoder(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the encoder, without its head, from the state dict of an `autoencoder` run; empty for other families.

    Names are those within the encoder.
    """
    if not any(name.startswith("net.decoder.") for name in state_dict):
        return {}
    prefix = "net.encoder."
    names = {name: name.removeprefix(prefix) for name in state_dict if name.startswith(prefix)}
    return {inner: state_dict[name] for name, inner in names.items() if not inner.startswith("head.")}


class SingleLossModule(FamilyModule):
    """A net that is trained with one loss, one optimiser and one schedule; families define batches and predictions.

    A `loss` that is a weighted mean has a method `batch_weight(target)`, which returns what the mean is divided by.

    Args:
        net: the network to train.
        preprocess: from stored images to the net's input.
        val_metrics: metrics of the validation data, besides the loss.
        optimizer: called with parameter groups.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts are trained when; None: all of them, always, at one learning rate.
        channels_last: store kernels (and so feature maps) with channels innermost, which most convolutions are faster
            with; `auto`: in training, except in 32 bits on a CPU.

    Raises:
        InputError: if `finetune` does not fit the net, or the optimiser refuses its options.
    """

    loss: nn.Module

    def __init__(
        self,
        *,
        net: nn.Module,
        preprocess: Preprocess,
        val_metrics: EpochMetrics,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler] | None,
        finetune: Finetune | None,
        channels_last: ChannelsLast,
    ) -> None:
        super().__init__()
        self.net = net
        self.preprocess = preprocess
        self.finetune = Finetune() if finetune is None else finetune
        use_depthwise(net)
        self.finetune.check(net)
        self.finetune.adapt(net)
        self._format_follows_precision = channels_last == "auto"
        self._set_memory_format(channels_last is True)
        self.check_optimizer(optimizer, "model.optimizer")
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.val_metrics = val_metrics
        self.val_loss = WeightedMean()
        # Not a buffer, which weight averaging would average.
        self._loss_sum = torch.zeros(())
        self._loss_samples: Tensor | int = 0
        self._lr = 0.0
        self._accumulated = AccumulatedMean()

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """The net; families that do not call it through its `forward` name others."""
        return [self.net]

    @property
    def has_unused_parameters(self) -> bool:
        """True with staged unfreezing."""
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
        weight, size = self.loss_weight(batch), len(batch["index"])
        loss, mean, weight, total = self.rescale_for_ddp(self.batch_loss(batch), weight, size)
        self._loss_sum = self._loss_sum.to(loss.device) + mean * total
        self._loss_samples += total
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.should_check_losses(batch_idx):
            self._check_loss()
        return loss if self.trainer.accumulate_grad_batches == 1 else self._accumulated.scale(loss, weight)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Make the gradients of several batches those of the mean over all of them, before they are clipped."""
        self._accumulated.correct(self.parameters(), self.trainer.accumulate_grad_batches)

    def loss_weight(self, batch: Batch) -> Tensor | float:
        """What the mean loss of a batch was divided by, as a weight for the mean over batches or devices."""
        weigh = getattr(self.loss, "batch_weight", None)
        weight: Tensor | float = len(batch["index"]) if weigh is None else weigh(batch["target"])
        return weight

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over the net's parameter groups, and a schedule that steps with it."""
        optimizer = self.finetune.optimizer(self.make_optimizer, self.net)
        self.check_clipping(optimizer, clips=bool(self.trainer.gradient_clip_val))
        if self.make_schedule is None:
            return optimizer
        total = self.total_steps  # first, as it loads the data that the next line counts
        per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        per_epoch = math.ceil(per_epoch) if math.isfinite(per_epoch) else per_epoch
        schedule = build_schedule(self.make_schedule, optimizer, total_steps=total, steps_per_epoch=per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Freeze what is never trained before a strategy wraps the module, and reset the running loss.

        Raises:
            InputError: for staged unfreezing with a strategy that does not support it.
        """
        if stage != "fit":
            return
        self._reset_train_loss()
        self._accumulated.reset()
        if self._format_follows_precision:
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            self._set_memory_format(not (on_cpu and self.trainer.precision == "32-true"))
        if not self.finetune.staged:
            self.finetune.apply(self.net, 0)
            self.net.train()  # modes are set when training starts; Lightning warns of modules in evaluation mode
        elif isinstance(self.trainer.strategy, DDPStrategy) and not self.trainer.strategy._ddp_kwargs.get(
            "find_unused_parameters"
        ):
            raise InputError(
                "model.finetune.unfreeze_every: over several devices, staged unfreezing needs "
                "trainer.strategy=ddp_find_unused_parameters_true."
            )

    def on_train_start(self) -> None:
        """Freeze stages; a run that is resumed within an epoch skips `on_train_epoch_start`."""
        self.finetune.apply(self.net, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        """Unfreeze the stages that are due."""
        self.finetune.apply(self.net, self.current_epoch)

    def on_validation_start(self) -> None:
        """Stop before a checkpoint could be written after a non-finite loss."""
        self._check_loss()

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics of the epoch."""
        loss = self.val_loss.compute()
        self.val_loss.reset()
        self.check_finite("validation loss", loss, self._lr)
        values = {f"val/{name}": value for name, value in self.val_metrics.compute().items()}
        self.log_dict({"val/loss": loss, **values}, sync_dist=False)  # torchmetrics has synchronised them

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over the epoch's samples, and the learning rate of its last step."""
        self._check_loss()
        if self._loss_samples:
            self.log("train/loss", self._loss_sum / self._loss_samples, sync_dist=True)  # equal on all ranks
            self.log("lr", self._lr)
        self._reset_train_loss()
        if not any(group.get("initial_lr", group["lr"]) for group in self.trainer.optimizers[0].param_groups):
            self.trainer.should_stop = True  # nothing is learned at a rate of 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the running loss for a resume within the epoch; never write non-finite weights.

        Raises:
            RunFailed: for non-finite weights.
        """
        self._check_loss()
        norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in self.parameters()])
        self.check_finite("norm of the weights", norm, self._lr)
        checkpoint["train_loss"] = {"sum": self._loss_sum.cpu(), "samples": int(self._loss_samples), "lr": self._lr}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the running loss."""
        if "train_loss" in checkpoint:
            self._loss_sum = checkpoint["train_loss"]["sum"]
            self._loss_samples = checkpoint["train_loss"]["samples"]
            self._lr = checkpoint["train_loss"]["lr"]

    def _set_memory_format(self, channels_last: bool) -> None:
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)

    def _reset_train_loss(self) -> None:
        self._loss_sum = torch.zeros(())
        self._loss_samples = 0
        self._lr = 0.0

    def _check_loss(self) -> None:
        # A sum stays NaN or infinite, so that one check covers all steps of the epoch so far.
        self.check_finite("training loss", self._loss_sum, self._lr)
