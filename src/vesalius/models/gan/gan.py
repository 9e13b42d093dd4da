"""The `gan` model family: a generator of images, and a critic that teaches it."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.family import Batch, FamilyModule, OutputKind
from vesalius.models.gan.auxiliary_classifier import AuxiliaryClassifier
from vesalius.models.gan.differentiable_augment import DifferentiableAugment
from vesalius.models.gan.loss import GANLoss
from vesalius.models.gan.metrics import NAMES, SynthesisMetrics
from vesalius.models.gan.steps import GANSteps
from vesalius.models.nets.gan.base import Critic, Generator
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.schedules import build_schedule
from vesalius.models.shard import Shard

# Looking at a loss on an accelerator waits for it; on the CPU every step is looked at.
_STEPS_BETWEEN_LOOKS = 50


class GAN(FamilyModule):
    """Trains a generator of images against a critic (Goodfellow et al. 2014, Generative Adversarial Nets).

    A batch is a dict of `image` (B, C, H, W) in 0..value_max, `index` (B,) row numbers of the sample table, and where
    each sample has one class, `target` (B,) int64.

    An optimiser step is one of the generator: `trainer.max_steps`, `global_step` and the generator's schedule count
    those. Each is preceded by `n_critic` steps of the critic, each on a batch of its own (the last of an epoch by as
    many as are left). With `trainer.accumulate_grad_batches=k` a step sees k batches, and `trainer.gradient_clip_val`
    bounds the gradients of each net by itself. With `precision=16` a step whose gradients overflow changes no weight,
    and counts all the same, as it does in Lightning.

    The generator learns from the images that the critic's last step saw, so that they are made once; with accumulation
    the graphs of all of them are held until then.

    Args:
        facts: what the data is like.
        generator: called as `generator(out_channels=..., image_size=..., classes=...)`.
        critic: called as `critic(in_channels=..., image_size=..., classes=...)`.
        loss: of both.
        optimizer: of the generator; called with its parameters.
        critic_optimizer: of the critic; two rates are two time scales (Heusel et al. 2017).
        preprocess: called as `preprocess(facts=...)`; must lead to -1..1, which is mean .5 and std .5.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`, once for each optimiser; None
            keeps the learning rates.
        classifier: called as `classifier(in_channels=..., num_outputs=...)`; where classes are told, the generator
            also learns to make images that it tells apart. None for no such net.
        augment: what is done to images, real and made, before the critic sees them; None for nothing.
        n_critic: steps of the critic for one of the generator.
        ema_decay: images are made by an average of the generator's weights, of which each step keeps this share; 0 for
            the weights as they are.
        conditional: tell the classes to both nets; only where each sample has exactly one.
        channels_last: keep nets and images with channels innermost in memory, which convolutions are faster with.

    Raises:
        InputError: where the parts do not fit the data or each other.
    """

    output_kind: ClassVar[OutputKind] = "samples"
    METRICS: ClassVar[tuple[str, ...]] = ("train/loss", "train/critic_loss", *(f"val/{name}" for name in NAMES))

    def __init__(
        self,
        facts: Facts,
        generator: Callable[..., Generator],
        critic: Callable[..., Critic],
        loss: GANLoss,
        optimizer: Callable[..., Optimizer],
        critic_optimizer: Callable[..., Optimizer],
        preprocess: Callable[..., Preprocess],
        schedule: Callable[..., LRScheduler] | None = None,
        classifier: Callable[..., AuxiliaryClassifier] | None = None,
        augment: DifferentiableAugment | None = None,
        n_critic: int = 1,
        ema_decay: float = 0.999,
        conditional: bool = True,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if facts.sequence_length is not None:
            raise InputError("model: the data gives image series, and a GAN makes single images: choose model=lstm.")
        prepare = preprocess(facts=facts)
        self.conditional = conditional and facts.single_label and facts.num_classes > 1
        self.classes = facts.classes if self.conditional else ()
        shape: dict[str, Any] = {"image_size": prepare.out_size, "classes": len(self.classes)}
        self.generator = generator(out_channels=prepare.out_channels, **shape)
        self.critic = critic(in_channels=prepare.out_channels, **shape)
        self.classifier: AuxiliaryClassifier | None = None
        if classifier is not None and self.conditional:
            self.classifier = classifier(in_channels=prepare.out_channels, num_outputs=len(self.classes))
            self.check_optimizer(self.classifier.make_optimizer, "model.classifier.optimizer")
        problems = []
        if loss.differentiates_images and self.critic.normalizes_batches:
            problems.append(
                "model.loss: a penalty looks at the critic's gradient at single images, and a critic that normalises "
                "over the batch mixes them: set model.critic.norm=spectral or none, or choose model=gan."
            )
        if n_critic < 1:
            problems.append(f"model.n_critic={n_critic}: must be 1 or more.")
        if not 0 <= ema_decay < 1:
            problems.append(f"model.ema_decay={ema_decay}: must be from 0 to below 1.")
        if not (torch.all(prepare.mean == 0.5) and torch.all(prepare.std == 0.5)):
            problems.append("model.preprocess: generators draw in -1..1: set mean=0.5 and std=0.5.")
        if problems:
            raise InputError(problems)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.preprocess, self.loss, self.augment = prepare, loss, augment
        self.check_optimizer(optimizer, "model.optimizer")
        self.check_optimizer(critic_optimizer, "model.critic_optimizer")
        self.make_optimizers = optimizer, critic_optimizer
        self.make_schedule = schedule
        self.n_critic, self.ema_decay = n_critic, ema_decay
        self.clip: Callable[[Optimizer], None] | None = None
        self.accumulate = 1
        self.val_metrics = SynthesisMetrics(prepare.out_channels)
        self._window: list[tuple[Tensor, Tensor | None, Shard]] = []
        self._sums = torch.zeros(4)  # losses of generator and critic, and how many steps of each

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs."""
        return self.METRICS

    def compare_in(self, load: Callable[[], tuple[Callable[[Tensor], Tensor], int]]) -> None:
        """Measure `val/frechet_distance` in other features."""
        self.val_metrics.compare_in(*load())

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """All nets; compiled ones cannot be differentiated twice, as a penalty does with the critic."""
        nets: list[nn.Module] = [self.generator]
        if not self.loss.differentiates_images:
            nets.append(self.critic)
        return nets if self.classifier is None else [*nets, self.classifier.net]

    @property
    def has_unused_parameters(self) -> bool:
        """Each net stands still while another learns."""
        return True

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,) to images (B, C, H, W) in 0..1, by the averaged generator."""
        images: Tensor = self.average(noise, labels if self.conditional else None)
        return self.preprocess.restore(images).clamp(0, 1)

    @torch.no_grad()
    def sample(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Make images (N, C, H, W) in 0..1, in evaluation mode.

        Args:
            labels: (N,) int64 classes; only their number counts where the model is not conditional.
            generator: on the CPU; where the noise comes from, so that every device makes the same images.
        """
        noise = torch.randn(len(labels), self.generator.latent_dim, generator=generator)
        images: Tensor = self(noise.to(self.device), labels.to(self.device))
        return images.float()

    def set_manual_optimization(self, accumulate: int, clip: Callable[[Optimizer], None] | None) -> None:
        """Do what Lightning leaves to modules that step by themselves.

        Args:
            accumulate: batches of a step.
            clip: bounds the gradients of an optimiser.
        """
        self.accumulate, self.clip = accumulate, clip

    def on_fit_start(self) -> None:
        """Forget an earlier fit."""
        self._window = []
        self._sums = torch.zeros(4, device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take a batch in; step where enough of them have come together."""
        real, labels = self._real(batch)
        self._window.append((real, labels, self.shard(len(real))))
        last = batch_idx + 1 == self.trainer.num_training_batches
        if len(self._window) < self.accumulate and not last:
            return
        step = batch_idx // self.accumulate
        # Counted from the start of the run, as the critic's optimiser does, where batches can be counted.
        per_epoch = self._steps.per_epoch[1]
        count = step + (self.current_epoch * int(per_epoch) if math.isfinite(per_epoch) else 0)
        teaches = (step + 1) % self.n_critic == 0 or last
        shown = self._train_critic(count, teaches)
        if self.classifier is not None:
            self._train_classifier(self.classifier)
        if teaches:
            self._train_generator(shown)
        self._window = []
        if real.device.type == "cpu" or step % _STEPS_BETWEEN_LOOKS == 0:
            self._refuse_divergence()

    def _train_critic(self, step: int, teaches: bool) -> list[Tensor]:
        """Gives back the made images that the critic was shown, a batch each, with their graph where it teaches."""
        optimizer = self.optimizers()[1].optimizer  # type: ignore[index]
        optimizer.zero_grad(set_to_none=True)
        shown = []
        for real, labels, part in self._window:
            noise = self._noise(len(real), part)
            with torch.set_grad_enabled(teaches):
                made = self.generator(noise, labels)
            shown.append(made)
            both = self._seen(torch.cat([real, made.detach()]), part)
            seen_real, seen_made = both.chunk(2)
            if self.critic.normalizes_batches:  # what is real must not be told by the company that it is in
                outputs = self.critic(seen_real, labels), self.critic(seen_made, labels)
            else:
                outputs = self.critic(both, _twice(labels)).chunk(2)
            loss = self.loss.critic(*outputs)
            loss = loss + self.loss.penalty(self.critic, seen_real, seen_made, labels, step, part)
            loss = loss * part.weight(len(real))
            self.manual_backward(loss / len(self._window))
            self._sums[1] += loss.detach() / len(self._window)
        self._sums[3] += 1
        self._step_uncounted(1)
        return shown

    def _train_classifier(self, classifier: AuxiliaryClassifier) -> None:
        optimizer = self.optimizers()[2].optimizer  # type: ignore[index]
        optimizer.zero_grad(set_to_none=True)
        classifier.train().requires_grad_(True)
        for real, labels, part in self._window:
            loss = classifier(real, labels, part) * part.weight(len(real))
            self.manual_backward(loss / len(self._window))
        classifier.eval().requires_grad_(False)  # made images leave no trace in it
        self._step_uncounted(2)

    def _train_generator(self, shown: list[Tensor]) -> None:
        optimizer = self.optimizers()[0]  # type: ignore[index]
        optimizer.zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)
        for (real, labels, part), made in zip(self._window, shown, strict=True):
            loss = self.loss.generator(self.critic(self._seen(made, part), labels))
            if self.classifier is not None:
                loss = loss + self.classifier.weight * self.classifier(made, labels, part)
            loss = loss * part.weight(len(real))
            self.manual_backward(loss / len(self._window))
            self._sums[0] += loss.detach() / len(self._window)
        self.critic.requires_grad_(True)
        optimizer.step()
        self._sums[2] += 1
        self._follow()
        self._schedule(0)

    def _step_uncounted(self, number: int) -> None:
        # By the strategy itself: a step of Lightning's wrapper would count as one of the run's.
        self.trainer.strategy.optimizer_step(self.optimizers()[number].optimizer, _nothing)  # type: ignore[index]
        self._schedule(number)

    def _schedule(self, number: int) -> None:
        schedulers = self.lr_schedulers()
        if schedulers is not None:
            schedulers[number].step()  # type: ignore[index]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged generator after the trained one; faster at first, when there is nothing to remember."""
        step = self.trainer.global_step
        share = 1 - min(self.ema_decay, (1 + step) / (10 + step))
        for kept, new in zip(self.average.state_dict().values(), self.generator.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new.to(kept.dtype), share)
            else:
                kept.copy_(new)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Bound the gradients, which are at their true scale by now."""
        if self.clip is not None:
            self.clip(optimizer)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Generator, critic, and the classifier where there is one; a schedule for each, where there is one."""
        make, make_critic = self.make_optimizers
        optimizers = [make(self.generator.parameters()), make_critic(self.critic.parameters())]
        if self.classifier is not None:
            optimizers.append(self.classifier.make_optimizer(self.classifier.parameters()))
        for optimizer in optimizers:
            self.check_clipping(optimizer, clips=self.clip is not None)
        if self.make_schedule is None:
            return optimizers
        schedules = []
        totals, per_epoch = self._totals, self._steps.per_epoch  # in this order: the first loads what the second counts
        for number, optimizer in enumerate(optimizers):
            of_critic = min(number, 1)  # the classifier steps as often
            lengths = {"total_steps": totals[of_critic], "steps_per_epoch": per_epoch[of_critic]}
            schedules.append(build_schedule(self.make_schedule, optimizer, **lengths))
        return optimizers, schedules

    @property
    def total_steps(self) -> float:
        """The generator's."""
        return self._totals[0]

    @property
    def _totals(self) -> tuple[float, float]:
        self.trainer.fit_loop.setup_data()  # so that batches can be counted; nothing where that was done
        return self._steps.whole(self.trainer.max_epochs, self.trainer.max_steps)

    @property
    def _steps(self) -> GANSteps:
        return GANSteps(self.trainer.num_training_batches, self.accumulate, self.n_critic)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compare a batch with as many images made of the same noise in every epoch."""
        real, labels = self._real(batch)
        generator, dim = torch.Generator().manual_seed(batch_idx), self.generator.latent_dim
        part = Shard(*self.place, self.place[1] * len(real))  # no device waits for another that may be done
        noise = part.of(len(real), lambda rows: torch.randn(rows, dim, generator=generator))
        made = self.average(noise.to(real.device), labels)
        self.val_metrics.update(*(self.preprocess.restore(images).clamp(0, 1) for images in (real, made)))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Go on from equal nets."""
        self._share_buffers()

    def on_validation_start(self) -> None:
        """Stop before a checkpoint could be written after a loss that is none; compare images of one generator."""
        self._refuse_divergence()
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Let DDP hand on the first device's running statistics, which it leaves out where a module steps by itself."""
        wrapped = self.trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.require_forward_param_sync = True

    def on_validation_epoch_end(self) -> None:
        """Log what the epoch's validation came to."""
        values = {f"val/{name}": value for name, value in self.val_metrics.compute().items()}
        for name, value in values.items():
            if not torch.isfinite(value):
                raise self.divergence(name, float(value), self._lr)
        self.log_dict(values, sync_dist=False)  # torchmetrics has gathered them over the ranks

    def on_train_epoch_end(self) -> None:
        """Log the mean losses over the epoch's steps, and the generator's learning rate."""
        self._refuse_divergence()
        losses = self._sums[:2] / self._sums[2:].clamp_min(1)
        self.log("train/loss", losses[0], sync_dist=True)
        self.log("train/critic_loss", losses[1], sync_dist=True)
        self.log("lr", self._lr)
        self._sums = torch.zeros_like(self._sums)

    @property
    def _lr(self) -> float:
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def _real(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        image = self.preprocess(batch["image"]).contiguous(memory_format=self.memory_format)
        return image, batch["target"] if self.conditional else None

    def _noise(self, size: int, part: Shard) -> Tensor:
        """Noise for this device's part of a step, (B, latent_dim)."""
        return part.of(size, lambda rows: torch.randn(rows, self.generator.latent_dim, device=self.device))

    def _seen(self, images: Tensor, part: Shard) -> Tensor:
        return images if self.augment is None else self.augment(images, part)

    def _refuse_divergence(self) -> None:
        # A sum stays NaN or infinite, so that one look covers all steps since the epoch began.
        if not torch.isfinite(self._sums).all():
            raise self.divergence("training loss", float(self._sums.sum()), self._lr)


def _twice(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else torch.cat([labels, labels])


def _nothing() -> None:
    """What an optimiser step asks for anew: nothing, as the gradients are there."""
