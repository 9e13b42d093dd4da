"""The interface of every model family to a training run."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vesalius.config.errors import InputError, RunFailed
from vesalius.models.nets.base import Staged
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.weight_record import WeightRecord
from vesalius.models.shard import Shard

# Reading a loss on an accelerator waits for it; on the CPU every step is checked.
_STEPS_BETWEEN_CHECKS = 50

Batch = dict[str, Tensor]
#: Whether kernels and images have channels innermost in memory; `auto`: as the precision of a training wants it.
ChannelsLast = bool | Literal["auto"]
#: What a model outputs: predicted targets, reconstructed images with their codes, anomaly maps, or new images.
OutputKind = Literal["targets", "reconstructions", "anomalies", "samples"]


def output_kind(model: object) -> OutputKind:
    """The output kind of a model or of its class; `targets` for a LightningModule that declares none."""
    kind: OutputKind = getattr(model, "output_kind", "targets")
    return kind


class FamilyModule(pl.LightningModule):
    """A model that a run can train and evaluate, and whose weights other runs can start from.

    Attributes:
        output_kind: what the model outputs, which decides how it is evaluated (`vesalius.evaluation.base`).
        preprocess: from stored images to the input of the nets.
        memory_format: of the nets' kernels and inputs.
    """

    output_kind: ClassVar[OutputKind] = "targets"

    preprocess: Preprocess
    memory_format: torch.memory_format

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs, which depends on the task."""
        raise NotImplementedError

    def prepare(self, image: Tensor) -> Tensor:
        """Preprocess stored images (B, C, H, W), in 0..value_max, for the nets: (B, out_channels, *out_size)."""
        prepared: Tensor = self.preprocess(image)
        return prepared.contiguous(memory_format=self.memory_format)

    def embed(self, batch: Batch) -> Tensor:
        """Feature vectors (B, F), float32, of the samples of a batch from the datamodule; targets are not used.

        As with `predict_step`, the caller sets evaluation mode and disables gradients.

        Raises:
            InputError: for a net without feature vectors.
        """
        raise NotImplementedError

    def load_pretrained(self) -> WeightRecord | None:
        """Load the pretrained weights that the config names, if any; for a run that starts from scratch.

        Returns:
            What is known of them; None without weights.

        Raises:
            InputError: if they cannot be read or downloaded, or do not fit, or expect other input than `preprocess`
                gives.
        """
        net = getattr(self, "net", None)
        record = net.load_pretrained() if isinstance(net, Staged) else None
        if record is not None:
            record.check_input(self.preprocess.mean, self.preprocess.std)
        return record

    def fit_start(self, batches: Callable[[Literal["train", "val"]], Iterable[Batch]], device: torch.device) -> None:
        """Fit what a model starts from to labelled samples, in a model that does so.

        Args:
            batches: returns those of a split, each sample once, as it is.
            device: where to compute.
        """

    def initialize(self, images: Callable[[], Tensor]) -> None:
        """Initialise weights from training images, in nets that do so.

        Args:
            images: returns some of them, (N, C, H, W) in 0..value_max.
        """

    def set_feature_extractor(self, load: Callable[[], tuple[Callable[[Tensor], Tensor], int]]) -> None:
        """Compare synthetic with validation images in other features, in a family that compares them.

        Args:
            load: returns a function from images (B, C, H, W) in 0..1 to features (B, F), on the images' device, and F.
        """

    def load_initial(self, state_dict: dict[str, Tensor]) -> list[str]:
        """Start from the weights of another model, where name and shape agree; its head may have other classes.

        Returns:
            Names of this model's weights that were not replaced.

        Raises:
            InputError: if no parameter fits.
        """
        own = self.state_dict()
        fits = {
            name: state_dict[name] for name in own if name in state_dict and state_dict[name].shape == own[name].shape
        }
        if not any(name in fits for name, _ in self.named_parameters()):
            raise InputError(
                "init_from: no weight of that run fits this model by name and shape: "
                "take a run of the same model.net, or leave init_from out."
            )
        self.load_state_dict(fits, strict=False)
        return [name for name in own if name not in fits]

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """The nets that `trainer.compile` compiles in place: those that are called through their `forward`."""
        return []

    @property
    def has_unused_parameters(self) -> bool:
        """Whether some steps leave out parameters that others train, so that DDP has to search for them."""
        return False

    @property
    def total_steps(self) -> float:
        """Optimiser steps of the whole training, as `global_step` counts them; infinite if unknown."""
        steps = float(self.trainer.estimated_stepping_batches)
        return math.inf if steps < 0 else steps  # Lightning's -1: the batches cannot be counted

    @property
    def rank_and_world_size(self) -> tuple[int, int]:
        """This device's rank, and the number of devices that share each step."""
        trainer = self._trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def rescale_for_ddp(
        self, loss: Tensor, weight: Tensor | float, size: int
    ) -> tuple[Tensor, Tensor, Tensor | float, Tensor | int]:
        """Rescale a loss so that a step over several devices equals that of one process; every device must call it.

        DDP averages the gradients of the devices, whatever their shares of the batch. If each device's mean loss is
        multiplied by its share of the total weight, the result is the gradient of the mean over the whole batch.

        Args:
            loss: the mean over the samples on this device.
            weight: what that mean was divided by: the number of samples, or the sum of their weights.
            size: number of samples on this device.

        Returns:
            The loss to differentiate; the mean loss over the whole batch, without gradient; and the weight and the size
            of that batch.
        """
        _, world_size = self.rank_and_world_size
        if world_size == 1:
            return loss, loss.detach(), weight, size
        weight = torch.as_tensor(weight, dtype=torch.float32, device=loss.device)
        sums = torch.stack([weight, torch.full_like(weight, size), loss.detach().float() * weight])
        total_weight, total_size, total_loss = self._sum_over_devices(sums).unbind()
        rescaled = loss * (weight * world_size / total_weight)
        return rescaled, total_loss / total_weight, total_weight, total_size

    def shard(self, size: int) -> Shard:
        """This device's `size` samples as a shard of a step over all devices; every device must call it."""
        rank, world_size = self.rank_and_world_size
        if world_size == 1:
            return Shard(rank, world_size, size)
        return Shard(rank, world_size, int(self._sum_over_devices(torch.tensor(float(size), device=self.device))))

    def _sum_over_devices(self, values: Tensor) -> Tensor:
        total = self.trainer.strategy.reduce(values, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total

    def check_optimizer(self, make: Callable[..., Optimizer], key: str) -> None:
        """Refuse invalid options of an optimiser before a run starts, not when the optimiser is built.

        Raises:
            InputError: with the optimiser's own message behind the key in the config.
        """
        try:
            make([nn.Parameter(torch.zeros(1, 1))])
        except (ValueError, TypeError) as error:
            raise InputError(f"{key}: {error}") from error

    def check_clipping(self, optimizer: Optimizer, *, clips: bool) -> None:
        """Refuse to clip gradients that are at their true scale only inside the optimiser's step.

        Raises:
            InputError: with the cure.
        """
        if clips and self.trainer.precision == "16-mixed" and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise InputError(
                "trainer.gradient_clip_val: with trainer.precision=16 a fused optimiser unscales gradients within its "
                "step, too late to clip them: choose trainer.precision=bf16, or set model.optimizer.fused=false (for a "
                "gan also model.critic_optimizer.fused=false and model.classifier.optimizer.fused=false)."
            )

    def should_check_losses(self, step: int) -> bool:
        """Whether to check the losses after a step of this number; on an accelerator only now and then."""
        return self.device.type == "cpu" or step % _STEPS_BETWEEN_CHECKS == 0

    def check_finite(self, name: str, value: Tensor, lr: float) -> None:
        """End a run that has diverged.

        Raises:
            RunFailed: if a number is not finite, with the cure.
        """
        if not torch.isfinite(value).all():
            raise RunFailed(
                f"The {name} became {float(value.sum())} in epoch {self.current_epoch}, step {self.global_step}, at a "
                f"learning rate of {lr:.3g}: lower model.optimizer.lr."
            )
