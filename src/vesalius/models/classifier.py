"""The `cnn` model family: disease classes of an image."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.models.finetune import Finetune
from vesalius.models.losses import ClassificationLoss
from vesalius.models.nets.base import Net
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.schedules import build_schedule
from vesalius.models.validation_metrics import NAMES, ValidationMetrics

_FLIPS = {"horizontal": -1, "vertical": -2}
# Looking at a loss on an accelerator waits for it; on the CPU every step is looked at.
_STEPS_BETWEEN_LOOKS = 50

Batch = dict[str, Tensor]


class CNNClassifier(pl.LightningModule):
    """Trains a net to tell the classes of images, and says how sure it is.

    A batch is a dict of `image` (B, C, H, W) in 0..value_max, `target` (B,) class indices, or (B, K) of 0 and 1 for
    multilabel, and `index` (B,) row numbers of the sample table.

    Args:
        facts: what the data is like.
        net: called as `net(in_channels=..., num_outputs=...)`; or a finished module from images to logits.
        loss: called as `loss(facts=...)`; has `probabilities(logits)`.
        optimizer: called with parameter groups, such as a partial of `torch.optim.AdamW`.
        preprocess: called as `preprocess(facts=...)`.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts learn when; None: everything, always, at one rate.
        test_time_flips: `horizontal`, `vertical` or both. In validation and prediction, probabilities are averaged
            over the image and its mirror images (over all four for both).
        channels_last: keep net and images with channels innermost in memory, which convolutions are faster with.

    Raises:
        InputError: where the parts do not fit the data or each other.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("train/loss", "val/loss", *(f"val/{name}" for name in NAMES))

    def __init__(
        self,
        facts: Facts,
        net: Callable[..., nn.Module],
        loss: Callable[..., ClassificationLoss],
        optimizer: Callable[..., Optimizer],
        preprocess: Callable[..., Preprocess],
        schedule: Callable[..., LRScheduler] | None = None,
        finetune: Finetune | None = None,
        test_time_flips: Sequence[str] = (),
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        unknown = set(test_time_flips) - set(_FLIPS)
        if unknown or isinstance(test_time_flips, str):
            raise InputError(f"model.test_time_flips={test_time_flips}: expected a list of horizontal and vertical.")
        self.preprocess = preprocess(facts=facts)
        self.loss = loss(facts=facts)
        channels = self.preprocess.out_channels
        self.net = net if isinstance(net, nn.Module) else net(in_channels=channels, num_outputs=facts.num_classes)
        if isinstance(self.net, Net):
            self.net.check_image(channels, *self.preprocess.out_size)
        self.finetune = Finetune() if finetune is None else finetune
        self.finetune.check(self.net)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        flips = [_FLIPS[name] for name in sorted(set(test_time_flips))]
        # Every subset of the flips, the empty one first: the image as it is.
        self.views = [chosen for n in range(len(flips) + 1) for chosen in itertools.combinations(flips, n)]
        self.val_metrics = ValidationMetrics(facts)
        self.val_loss = MeanMetric(nan_strategy="disable")  # by default it would leave NaN out, and hide divergence
        # Not a buffer: an averaged copy of the model must not average it.
        self._loss_sum = torch.zeros(())
        self._loss_samples = 0
        self._lr = 0.0

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) in 0..value_max to logits (B, K)."""
        logits: Tensor = self.net(self._prepare(image))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.loss(self(batch["image"]), batch["target"])
        size = len(batch["target"])
        self._loss_sum = self._loss_sum.to(loss.device) + loss.detach() * size
        self._loss_samples += size
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if loss.device.type == "cpu" or batch_idx % _STEPS_BETWEEN_LOOKS == 0:
            self._refuse_divergence()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Take a batch into the epoch's metrics; the loss is that of the image as it is."""
        logits, probabilities = self._predict(batch["image"])
        self.val_loss.update(self.loss(logits, batch["target"]), weight=len(logits))
        self.val_metrics.update(probabilities, batch["target"])

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Give `index` (B,) and `probabilities` (B, K), float32."""
        return {"index": batch["index"], "probabilities": self._predict(batch["image"])[1]}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over the net's parameter groups, and a schedule that steps with it."""
        optimizer = self.finetune.optimizer(self.make_optimizer, self.net)
        if self.make_schedule is None:
            return optimizer
        total = self.trainer.estimated_stepping_batches  # asked first: it loads the data that the next line counts
        per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        per_epoch = math.ceil(per_epoch) if math.isfinite(per_epoch) else per_epoch
        schedule = build_schedule(self.make_schedule, optimizer, total_steps=total, steps_per_epoch=per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def load_pretrained(self) -> None:
        """Load the ready-made weights that the config names, if it names any; for a run that starts afresh.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """
        if isinstance(self.net, Net):
            self.net.load_pretrained()

    def load_initial(self, state_dict: dict[str, Tensor]) -> list[str]:
        """Start from the weights of another model, wherever name and shape agree; its head may have other classes.

        Returns:
            Names of this model's weights that stay as they were.

        Raises:
            InputError: if no parameter fits.
        """
        own = self.state_dict()
        fits = {
            name: state_dict[name] for name in own if name in state_dict and state_dict[name].shape == own[name].shape
        }
        if not any(name in fits for name, _ in self.named_parameters()):
            raise InputError(
                "init_from: not one weight of that run fits this model by name and shape; "
                "take a run of the same model.net, or leave init_from out."
            )
        self.load_state_dict(fits, strict=False)
        return [name for name in own if name not in fits]

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
            raise self._divergence("validation loss", float(loss))
        values = {f"val/{name}": value for name, value in self.val_metrics.compute().items()}
        self.log_dict({"val/loss": loss, **values}, sync_dist=False)  # torchmetrics has gathered them over the ranks

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over the epoch's samples, and the learning rate of its last step."""
        self._refuse_divergence()
        if self._loss_samples:
            self.log("train/loss", self._loss_sum / self._loss_samples, sync_dist=True)
            self.log("lr", self._lr)
        self._reset_train_loss()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running loss for a resume in mid-epoch, and never write weights that are no numbers."""
        self._refuse_divergence()
        norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in self.parameters()])
        if not torch.isfinite(norm):
            raise self._divergence("norm of the weights", float(norm))
        checkpoint["train_loss"] = {"sum": self._loss_sum.cpu(), "samples": self._loss_samples, "lr": self._lr}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the running loss."""
        if "train_loss" in checkpoint:
            self._loss_sum = checkpoint["train_loss"]["sum"]
            self._loss_samples = checkpoint["train_loss"]["samples"]
            self._lr = checkpoint["train_loss"]["lr"]

    def _prepare(self, image: Tensor) -> Tensor:
        prepared: Tensor = self.preprocess(image)
        return prepared.contiguous(memory_format=self.memory_format)

    def _predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the images as they are, and probabilities averaged over all views."""
        prepared = self._prepare(image)
        logits = [self.net(prepared.flip(view) if view else prepared) for view in self.views]
        probabilities = torch.stack([self.loss.probabilities(each) for each in logits]).mean(dim=0)
        return logits[0], probabilities

    def _reset_train_loss(self) -> None:
        self._loss_sum = torch.zeros(())
        self._loss_samples = 0
        self._lr = 0.0

    def _refuse_divergence(self) -> None:
        # A sum stays NaN or infinite, so that one look covers all steps since the epoch began.
        if not torch.isfinite(self._loss_sum):
            raise self._divergence("training loss", float(self._loss_sum))

    def _divergence(self, what: str, value: float) -> RunFailed:
        return RunFailed(
            f"The {what} became {value} in epoch {self.current_epoch}, step {self.global_step}, at a learning rate of "
            f"{self._lr:.3g}: lower model.optimizer.lr."
        )
