"""What a training run asks of every model family."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vesalius.config.errors import InputError, RunFailed
from vesalius.models.shard import Shard

Batch = dict[str, Tensor]
#: What a model gives: predicted targets, reconstructed images with their codes, or new images.
OutputKind = Literal["targets", "reconstructions", "samples"]


def output_kind(model: object) -> OutputKind:
    """What a model, or a class of models, gives; a LightningModule from elsewhere that does not name it: targets."""
    kind: OutputKind = getattr(model, "output_kind", "targets")
    return kind


class FamilyModule(pl.LightningModule):
    """A model that a run can train and evaluate, and whose weights other runs can start from.

    Attributes:
        output_kind: what the model gives, which decides how it is evaluated (`vesalius.evaluation.base`).
    """

    output_kind: ClassVar[OutputKind] = "targets"

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs, which depends on the task."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Tensor:
        """Feature vectors (B, F), float32, of the samples of a batch as the datamodule gives it.

        Targets are not looked at. As with `predict_step`, who calls sees to evaluation mode and to gradients.

        Raises:
            InputError: where the net has no feature vectors.
        """
        raise NotImplementedError

    def load_pretrained(self) -> None:
        """Load the ready-made weights that the config names, if it names any; for a run that starts afresh.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """

    def initialize(self, images: Callable[[], Tensor]) -> None:
        """Take a start from training images, where the net has any use for them.

        Args:
            images: gives some of them, (N, C, H, W) in 0..value_max.
        """

    def compare_in(self, load: Callable[[], tuple[Callable[[Tensor], Tensor], int]]) -> None:
        """Compare synthetic with validation images in other features, in a family that compares them at all.

        Args:
            load: gives a function from images (B, C, H, W) in 0..1 to features (B, F), on the images' device, and F.
        """

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

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """The nets that `trainer.compile` compiles in place; all that matters must go through their `forward`."""
        return []

    @property
    def has_unused_parameters(self) -> bool:
        """Whether some steps leave out parameters that others train, which DDP must be told of."""
        return False

    @property
    def total_steps(self) -> float:
        """Optimiser steps of the whole training, as `global_step` counts them; infinite where it cannot be known."""
        steps = float(self.trainer.estimated_stepping_batches)
        return math.inf if steps < 0 else steps  # Lightning's -1, of batches that cannot be counted

    @property
    def place(self) -> tuple[int, int]:
        """This device's rank, and how many devices share each step."""
        trainer = self._trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def rescale_for_ddp(self, loss: Tensor, weight: Tensor | float, size: int) -> tuple[Tensor, Tensor, Tensor | int]:
        """Make a step over several devices that of one process; every device must call it.

        DDP averages the gradients of the devices, whatever their parts of the batch are. A loss that was multiplied by
        its part's share of all weight leads to the gradient of the mean over the whole batch.

        Args:
            loss: of this device's part: a mean.
            weight: what the mean was divided by: the number of samples, or the sum of their weights.
            size: number of samples.

        Returns:
            The loss to learn from; the mean loss over the whole batch, without gradient; and the batch's size.
        """
        world = self.place[1]
        if world == 1:
            return loss, loss.detach(), size
        weight = torch.as_tensor(weight, dtype=torch.float32, device=loss.device)
        sums = torch.stack([weight, torch.full_like(weight, size), loss.detach().float() * weight])
        weights, whole, total = self._sum_over_devices(sums).unbind()
        return loss * (weight * world / weights), total / weights, whole

    def shard(self, size: int) -> Shard:
        """Which samples of a step over all devices the `size` here are; every device must call it."""
        rank, world = self.place
        whole = size if world == 1 else int(self._sum_over_devices(torch.tensor(float(size), device=self.device)))
        return Shard(rank, world, whole)

    def _sum_over_devices(self, values: Tensor) -> Tensor:
        total = self.trainer.strategy.reduce(values, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total

    def check_optimizer(self, make: Callable[..., Optimizer], key: str) -> None:
        """Refuse options of an optimiser before a run begins, not when it first steps.

        Raises:
            InputError: what the optimiser itself says of them, behind their key in the config.
        """
        try:
            make([nn.Parameter(torch.zeros(1, 1))])
        except (ValueError, TypeError) as error:
            raise InputError(f"{key}: {error}") from error

    def check_clipping(self, optimizer: Optimizer, *, clips: bool) -> None:
        """Refuse to bound gradients that are at their true scale only inside the optimiser's step.

        Raises:
            InputError: with the cure.
        """
        if clips and self.trainer.precision == "16-mixed" and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise InputError(
                "trainer.gradient_clip_val: with trainer.precision=16 a fused optimiser scales gradients back within "
                "its step, too late to bound them: choose trainer.precision=bf16, or set model.optimizer.fused=false "
                "(of a gan also model.critic_optimizer.fused=false and model.classifier.optimizer.fused=false)."
            )

    def divergence(self, what: str, value: float, lr: float) -> RunFailed:
        """The error that ends a run whose numbers are none any more."""
        return RunFailed(
            f"The {what} became {value} in epoch {self.current_epoch}, step {self.global_step}, at a learning rate of "
            f"{lr:.3g}: lower model.optimizer.lr."
        )
