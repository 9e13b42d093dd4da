"""The `autoencoder` model family: low-dimensional codes of images, learned without labels."""

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.autoencoder.loss import ReconstructionLoss
from vesalius.models.autoencoder.metrics import ReconstructionMetrics
from vesalius.models.epoch_metrics.weighted_mean import WeightedMean
from vesalius.models.family import Batch, OutputKind
from vesalius.models.finetune import Finetune
from vesalius.models.nets.autoencoder.base import CodingNet
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.shard import Shard
from vesalius.models.single_loss import SingleLossModule

# Twice the variance of a pixel: brings a divergence in nats per image onto the scale of a mean squared error.
_PIXEL_NOISE = 2 * 0.1**2
# What a variational net's validation loss is composed of; the divergence in nats per image.
_PARTS = ("val/reconstruction_loss", "val/divergence")


class Autoencoder(SingleLossModule):
    """Trains a net to reconstruct images from a low-dimensional code.

    A batch is a dict of `image` (B, C, H, W) in 0..value_max and `index` (B,) row numbers of the sample table.

    `val/loss` is what is trained, on validation images without noise: of a variational net with the divergence, whose
    codes are drawn with equal random numbers in every epoch; its parts are `val/reconstruction_loss` and
    `val/divergence`. The other validation metrics are of reconstructions from the mean codes.

    Args:
        facts: task, classes, shape and statistics of the data.
        net: called as `net(in_channels=..., image_size=...)`.
        loss: between reconstruction and image, both on the scale where white is 1.
        optimizer: called with parameter groups, such as a partial of `torch.optim.AdamW`.
        preprocess: called as `preprocess(facts=...)`; targets are images of its size and channels, not normalised.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts of the encoder are trained when; None: all of them, always, at one learning rate.
        noise: standard deviation, where white is 1, of normal noise that is added to the encoder's input in training;
            the clean images are the targets (Vincent et al. 2008, Denoising Autoencoders).
        beta: weight of the divergence of a variational net's codes from a standard normal distribution (Higgins et al.
            2017, beta-VAE); a pixel's squared error weighs 1 / (2 * 0.1**2), as for normal pixel noise of 0.1.
        agreement: called as `agreement(latent_dim=...)`: an objective for the codes of two views of each image, `image`
            and `view` of a batch (`data.second_view`), which then is all that the encoder learns from; the decoder
            learns to draw from its codes. None: encoder and decoder learn to reconstruct.
        channels_last: store kernels and images with channels innermost, which convolutions are faster with.

    Raises:
        InputError: if the parts do not fit the data or each other.
    """

    output_kind: ClassVar[OutputKind] = "reconstructions"
    METRICS: ClassVar[tuple[str, ...]] = (
        "train/loss",
        "val/loss",
        *(f"val/{name}" for name in ReconstructionMetrics.names),
        *_PARTS,
    )

    net: CodingNet
    val_metrics: ReconstructionMetrics

    def __init__(
        self,
        facts: Facts,
        net: Callable[..., CodingNet],
        loss: ReconstructionLoss,
        optimizer: Callable[..., Optimizer],
        preprocess: Callable[..., Preprocess],
        schedule: Callable[..., LRScheduler] | None = None,
        finetune: Finetune | None = None,
        noise: float = 0.0,
        beta: float = 1.0,
        agreement: Callable[..., nn.Module] | None = None,
        channels_last: bool = True,
    ) -> None:
        if facts.sequence_length is not None:
            raise InputError("model: the data has image series, and this model takes single images: choose model=lstm.")
        problems = [
            f"model.{name}={value}: must not be below 0."
            for name, value in (("noise", noise), ("beta", beta))
            if value < 0
        ]
        prepare = preprocess(facts=facts)
        module = net(in_channels=prepare.out_channels, image_size=prepare.out_size)
        module.check_image(prepare.out_channels, *prepare.out_size)
        if loss.kind == "bce" and not module.bounded:
            problems.append(
                "model.loss.kind=bce: it takes values in 0..1, and the net's output is not bounded: set "
                "model.net.output=sigmoid and model.net.linear_path=false, or another loss."
            )
        if agreement is not None and (module.variational or module.starts_linear):
            problems.append(
                "model.agreement: codes of this objective are the encoder's own: set model.net.variational=false and "
                "model.net.linear_path=none."
            )
        if problems:
            raise InputError(problems)
        if agreement is not None:  # a part of the net, so that it is trained with it
            module.agreement = agreement(latent_dim=module.latent_dim)
        super().__init__(
            net=module,
            preprocess=prepare,
            val_metrics=ReconstructionMetrics(),
            optimizer=optimizer,
            schedule=schedule,
            finetune=finetune,
            channels_last=channels_last,
        )
        self.loss = loss
        self.noise, self.beta = noise, beta
        self.has_agreement = agreement is not None
        self.val_parts = nn.ModuleList(WeightedMean() for _ in _PARTS)

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs, which depends on the net."""
        return (*super().logged_metrics, *(_PARTS if self.net.variational else ()))

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) in 0..value_max to reconstructions in 0..1."""
        reconstruction: Tensor = self.net(self.prepare(image))
        return reconstruction.clamp(0, 1)

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """Encoder and decoder: a training step does not call the `forward` of the whole net."""
        return list(self.net.children())

    def initialize(self, images: Callable[[], Tensor]) -> None:
        """Start at the principal components of training images, if the net has a linear path."""
        if self.net.starts_linear:
            original = self.preprocess.restore(self.preprocess(images()))
            components = PrincipalComponents.fit(original.numpy(), self.net.latent_dim)
            self.net.start_at(components, self.preprocess.mean, self.preprocess.std)

    def batch_loss(self, batch: Batch) -> Tensor:
        """The mean loss over the samples of a training batch."""
        if self.has_agreement:
            return self._agreement_loss(batch)[0]
        prepared = self.prepare(batch["image"])
        original = self.preprocess.restore(prepared)
        if self.noise:
            std = self.preprocess.std.view(1, -1, 1, 1)
            prepared = prepared + self.shard(len(prepared)).randn_like(prepared) * (self.noise / std)
        mean, log_variance = self.net.encode(prepared)
        if log_variance is None:
            return self.loss(self.net.decode(mean), original)  # type: ignore[no-any-return]
        noise = self.shard(len(mean)).randn_like(mean.float())
        return self._variational_loss(mean, log_variance, noise, original)[0]

    def _agreement_loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of two views; and the reconstruction of the first, and what that is of."""
        if "view" not in batch:
            raise InputError("model.agreement needs two views of each image: set data.second_view=true.")
        prepared = self.prepare(torch.cat([batch["image"].float(), batch["view"].float()]))
        code, other = self.net.encode(prepared)[0].chunk(2)
        original, reconstruction = self.preprocess.restore(prepared[: len(code)]), self.net.decode(code.detach())
        if self.training and self.rank_and_world_size[1] > 1:  # variances are over the whole batch
            code, other = (self._gather(part) for part in (code, other))
        loss: Tensor = self.net.agreement(code, other)  # type: ignore[operator]
        return loss + self.loss(reconstruction, original), reconstruction, original

    def _gather(self, codes: Tensor) -> Tensor:
        """Codes (B, D) of all devices, with their gradients; parts may differ in size."""
        sizes = cast(Tensor, self.all_gather(torch.tensor(len(codes), device=codes.device))).tolist()
        padded = F.pad(codes, (0, 0, 0, max(sizes) - len(codes)))
        parts = cast(Tensor, self.all_gather(padded, sync_grads=True))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def _variational_loss(
        self, mean: Tensor, log_variance: Tensor, noise: Tensor, original: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of codes drawn with (B, D) standard normal noise, and its parts: reconstruction and divergence."""
        mean, log_variance = mean.float(), log_variance.float().clamp(-20, 20)
        error: Tensor = self.loss(self.net.decode(mean + noise * (log_variance / 2).exp()), original)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return error + self.beta * _PIXEL_NOISE * divergence / original[0].numel(), error, divergence

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the epoch's loss and metrics."""
        if self.has_agreement:
            loss, reconstruction, original = self._agreement_loss(batch)
            self.val_loss.update(loss, weight=len(original))
            self.val_metrics.update(reconstruction.clamp(0, 1), original)
            return
        prepared = self.prepare(batch["image"])
        original, (mean, log_variance) = self.preprocess.restore(prepared), self.net.encode(prepared)
        reconstruction = self.net.decode(mean)
        if log_variance is None:
            loss = self.loss(reconstruction, original)
        else:
            noise = self._validation_noise(batch_idx, *mean.shape).to(mean.device)
            loss, *parts = self._variational_loss(mean, log_variance, noise, original)
            for metric, part in zip(self.val_parts, parts, strict=True):
                metric.update(part, weight=len(original))  # type: ignore[operator]
        self.val_loss.update(loss, weight=len(original))
        self.val_metrics.update(reconstruction.clamp(0, 1), original)

    def _validation_noise(self, batch_idx: int, rows: int, dim: int) -> Tensor:
        """(rows, dim) standard normal numbers, the same in every epoch and however many devices share a batch."""
        generator = torch.Generator().manual_seed(batch_idx)
        rank, world_size = self.rank_and_world_size
        shard = Shard(rank, world_size, world_size * rows)  # no reduction: devices may have fewer batches
        return shard.draw(rows, lambda count: torch.randn(count, dim, generator=generator))

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics of the epoch."""
        super().on_validation_epoch_end()
        if self.net.variational:
            for name, metric in zip(_PARTS, self.val_parts, strict=True):
                self.log(name, metric.compute(), sync_dist=False)  # type: ignore[operator]
                metric.reset()  # type: ignore[operator]

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `index` (B,), `original` and `reconstruction` (B, C, H, W) in 0..1, and `latent` (B, D); float32."""
        prepared = self.prepare(batch["image"])
        latent = self.net.encode(prepared)[0]
        return {
            "index": batch["index"],
            "original": self.preprocess.restore(prepared).clamp(0, 1),
            "reconstruction": self.decode(latent),
            "latent": latent,
        }

    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, D) to images (B, C, H, W) in 0..1."""
        return self.net.decode(latent).clamp(0, 1)

    def embed(self, batch: Batch) -> Tensor:
        """Codes (B, D) of the images of a batch; for a variational net, their means."""
        return self.net.encode(self.prepare(batch["image"]))[0]
