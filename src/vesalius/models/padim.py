"""Anomalies by the distribution of a frozen network's features at each place (PaDiM)."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.epoch_metrics.weighted_mean import WeightedMean
from vesalius.models.family import Batch, FamilyModule, OutputKind
from vesalius.models.nets.base import Net
from vesalius.models.nets.preprocess import Preprocess


class PaDiM(FamilyModule):
    """Scores how unusual images are, and where, by distances from a normal distribution of features at each place.

    Defard et al. 2021 (PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization), with the
    neighbourhoods of Roth et al. 2022 (PatchCore): feature maps of a few stages, each averaged over 3 x 3 places and
    then to the grid of the coarsest. At each place of the grid, mean and covariance are those of the training images;
    the map is the Mahalanobis distance per dimension, the score its largest value. Suits images that are aligned to
    each other, at least roughly.

    Nothing is trained by gradients: training is one pass over the images, whatever `trainer.max_epochs`, and a step
    counts as one in `global_step`. `val/loss` is the mean distance of validation images.

    A batch is a dict of `image` (B, C, H, W) in 0..value_max and `index` (B,) row numbers of the sample table.

    Args:
        facts: shape and statistics of the data.
        net: called as `net(in_channels=..., num_outputs=...)`; a `Net` with `feature_maps`, which stays as it is.
        preprocess: called as `preprocess(facts=...)`.
        stages: of the net, counted from 0, whose feature maps are used. Each dimension of their features costs as many
            numbers per place as there are dimensions.
        shrinkage: added to the variances at each place, as a share of their mean over all places.

    Raises:
        InputError: if the parts do not fit the data or each other.
    """

    output_kind: ClassVar[OutputKind] = "anomalies"
    METRICS: ClassVar[tuple[str, ...]] = ("val/loss",)

    count: Tensor
    mean: Tensor
    scatter: Tensor
    whitening: Tensor

    def __init__(
        self,
        facts: Facts,
        net: Callable[..., Net],
        preprocess: Callable[..., Preprocess],
        stages: Sequence[int] = (1, 2),
        shrinkage: float = 0.2,
    ) -> None:
        super().__init__()
        if facts.sequence_length is not None:
            raise InputError("model: the data has image series, and this model takes single images: choose model=lstm.")
        self.automatic_optimization = False
        self.preprocess = preprocess(facts=facts)
        self.net = net(in_channels=self.preprocess.out_channels, num_outputs=1).requires_grad_(False)
        self.net.check_image(self.preprocess.out_channels, *self.preprocess.out_size)
        count, problems = len(self.net.stages()), []
        if not stages or not all(0 <= stage < count for stage in stages):
            problems.append(f"model.stages={list(stages)}: name some of the stages 0 to {count - 1} of the net.")
        if not shrinkage > 0:
            problems.append(f"model.shrinkage={shrinkage}: must be above 0.")
        if problems:
            raise InputError(problems)
        self.stages, self.shrinkage, self.image_size = sorted(stages), shrinkage, facts.image_size
        self.memory_format = torch.channels_last
        self.net.to(memory_format=self.memory_format)
        self.val_distance = WeightedMean()
        blank = torch.zeros(1, facts.channels, *facts.image_size)
        with torch.no_grad():
            dim, *grid = self.patches(blank).shape[1:]
        self.grid: tuple[int, int] = (grid[0], grid[1])
        places = grid[0] * grid[1]
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(places, dim))
        self.register_buffer("scatter", torch.zeros(places, dim, dim))
        self.register_buffer("whitening", torch.eye(dim).repeat(places, 1, 1))

    @property
    def logged_metrics(self) -> tuple[str, ...]:
        """Every metric that this module logs."""
        return self.METRICS

    def patches(self, image: Tensor) -> Tensor:
        """Features (B, D, h, w) of the places of a grid, of images (B, C, H, W) in 0..value_max; in 32 bits."""
        self.net.eval()  # running statistics of BatchNorm are those of the weights
        with torch.autocast(image.device.type, enabled=False):
            maps = self.net.feature_maps(self.prepare(image), self.stages)
            size = maps[-1].shape[-2:]
            around = [F.avg_pool2d(one, 3, stride=1, padding=1) for one in maps]
            return torch.cat([F.interpolate(one, size=size, mode="area") for one in around], dim=1)

    def _distances(self, patches: Tensor) -> Tensor:
        """Mahalanobis distances per dimension (B, h, w) of the features of places (B, D, h, w)."""
        centred = patches.flatten(2).permute(2, 0, 1) - self.mean[:, None]
        white = centred @ self.whitening.transpose(1, 2)
        return white.square().mean(dim=2).sqrt().transpose(0, 1).view(-1, *self.grid)

    def forward(self, image: Tensor) -> Tensor:
        """Maps (B, H, W), of the size of the stored images (B, C, H, W), of how unusual each place is; 0 or more."""
        return self._map(self.patches(image))

    def _map(self, patches: Tensor) -> Tensor:
        distances = self._distances(patches)[:, None]
        return F.interpolate(distances, size=self.image_size, mode="bilinear", align_corners=False)[:, 0]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Learn from the images of a batch."""
        self.learn(batch["image"])
        # Lightning counts steps of optimisers, of which there are none, and saves no checkpoint of a run without steps.
        self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.increment_completed()

    @torch.no_grad()
    def learn(self, image: Tensor) -> None:
        """Add images (B, C, H, W) to mean and scatter of each place; `fit_distributions` makes use of them."""
        features = self.patches(image).flatten(2).permute(2, 0, 1)
        # Parallel sums of Chan, Golub and LeVeque (1979): squares of the mean are never subtracted.
        new, total = features.shape[1], self.count + features.shape[1]
        mean = features.mean(dim=1)
        centred, step = features - mean[:, None], mean - self.mean
        self.scatter += centred.transpose(1, 2) @ centred
        self.scatter += step[:, :, None] * step[:, None, :] * (self.count * new / total)
        self.mean += step * (new / total)
        self.count += new

    def on_validation_start(self) -> None:
        """Compute the distributions of all images so far."""
        if self.trainer.state.fn == "fit":
            self.fit_distributions()

    def fit_distributions(self) -> None:
        """From mean and scatter to what whitens the features of each place.

        Raises:
            InputError: for fewer than 2 images.
        """
        if self.count < 2:
            raise InputError(
                f"model: {int(self.count)} training images are too few for a distribution: give 2 or more."
            )
        covariance = self.scatter / (self.count - 1)
        own = covariance.diagonal(dim1=1, dim2=2)
        usual = own.mean(dim=0)
        usual = usual.clamp_min(
            1e-3 * float(usual.mean()) + 1e-12
        )  # a dimension that never varies is not all that counts
        added = torch.diag_embed(self.shrinkage * usual + 1e-3 * own)  # of its own: few images, 32 bits
        self.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance + added)))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the mean distance."""
        distances = self._distances(self.patches(batch["image"]))
        self.val_distance.update(distances.mean(), weight=len(distances))

    def on_validation_epoch_end(self) -> None:
        """Log the mean distance of the validation images."""
        self.log("val/loss", self.val_distance.compute(), sync_dist=False)
        self.val_distance.reset()

    def on_train_epoch_end(self) -> None:
        """End the training after one pass."""
        self.trainer.should_stop = True

    def setup(self, stage: str) -> None:
        """Refuse several devices, and set modes: Lightning warns of modules in evaluation mode.

        Raises:
            InputError: with the cure.
        """
        if stage == "fit" and isinstance(self.trainer.strategy, DDPStrategy):
            raise InputError("trainer: this model learns in one pass on one device: choose trainer=auto.")
        self.net.train()

    def configure_optimizers(self) -> None:
        """None: nothing is trained by gradients."""

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `index` (B,), `map` (B, H, W), `score` (B,), its largest value, and `latent` (B, D); float32."""
        patches = self.patches(batch["image"])
        maps = self._map(patches)
        latent = patches.mean(dim=(2, 3))
        return {"index": batch["index"], "map": maps, "score": maps.amax(dim=(1, 2)), "latent": latent}

    def embed(self, batch: Batch) -> Tensor:
        """Features (B, D), the mean over the places of each image."""
        return self.patches(batch["image"]).mean(dim=(2, 3))
