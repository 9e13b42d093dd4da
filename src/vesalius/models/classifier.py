"""The `cnn` model family: classes or continuous targets of single images."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.family import Batch, ChannelsLast
from vesalius.models.feature_cache import FeatureCache
from vesalius.models.finetune import Finetune
from vesalius.models.head_start import fit_head as fit_regression_head
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.regression import RegressionLoss
from vesalius.models.nets.base import Net
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.single_loss import trained_encoder
from vesalius.models.supervised import SupervisedModule
from vesalius.models.views import Flip


class CNNClassifier(SupervisedModule):
    """Trains a net to classify images, or to predict continuous targets of them.

    A batch is a dict of `image` (B, C, H, W) in 0..value_max, `index` (B,) row numbers of the sample table, and
    `target`: class indices (B,), or 0 and 1 (B, K) for multilabel, or values (B, K) for regression. Those of a
    datamodule have `draw` (B,) too: features are kept for their images only, as other images have other numbers.

    Args:
        facts: task, classes, shape and statistics of the data.
        net: called as `net(in_channels=..., num_outputs=...)`; or a module from images to logits.
        loss: called as `loss(facts=...)`.
        optimizer: called with parameter groups, such as a partial of `torch.optim.AdamW`.
        preprocess: called as `preprocess(facts=...)`.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts are trained when; None: all of them, always, at one learning rate.
        test_time_flips: `horizontal`, `vertical` or both. In validation and prediction, probabilities (or values) are
            averaged over the image and its mirror images (over all four for both).
        channels_last: store kernels and images with channels innermost, which most convolutions are faster with;
            `auto`: in training, except in 32 bits on a CPU.
        cache_features: compute the features of each image once, for a net of which only the head is trained
            (`finetune.freeze=all`), on images that are not augmented.
        fit_head: start from the linear head that regression finds on the net's features, with the penalty that does
            best on validation. With `finetune.freeze=all` and a learning rate of 0 the model stays there.

    Raises:
        InputError: if the parts do not fit the data or each other.
    """

    def __init__(
        self,
        facts: Facts,
        net: Callable[..., nn.Module],
        loss: Callable[..., ClassificationLoss | RegressionLoss],
        optimizer: Callable[..., Optimizer],
        preprocess: Callable[..., Preprocess],
        schedule: Callable[..., LRScheduler] | None = None,
        finetune: Finetune | None = None,
        test_time_flips: Sequence[Flip] = (),
        channels_last: ChannelsLast = True,
        cache_features: bool = False,
        fit_head: bool = False,
    ) -> None:
        prepare = preprocess(facts=facts)
        channels = prepare.out_channels
        module = net if isinstance(net, nn.Module) else net(in_channels=channels, num_outputs=facts.num_classes)
        if isinstance(module, Net):
            module.check_image(channels, *prepare.out_size)
        super().__init__(
            facts,
            net=module,
            loss=loss,
            test_time_flips=test_time_flips,
            cache_features=cache_features,
            preprocess=prepare,
            optimizer=optimizer,
            schedule=schedule,
            finetune=finetune,
            channels_last=channels_last,
        )
        if fit_head and not isinstance(module, Net):
            raise InputError("model.fit_head=true: this net has no features and head: let it inherit from Net.")
        self._fits_head, self._task = fit_head, facts.task

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) in 0..value_max to logits, or to standardised values, (B, K)."""
        logits: Tensor = self.net(self.prepare(image))
        return logits

    def batch_loss(self, batch: Batch) -> Tensor:
        """The mean loss over the samples of a training batch."""
        outputs = self(batch["image"]) if self.cache is None else self._outputs_of_known(batch, self.cache)
        loss: Tensor = self.loss(outputs, batch["target"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the epoch's loss, of the images as they are, and metrics, averaged over flips."""
        outputs = self._outputs(batch)
        self.val_loss.update(self.loss(outputs[0], batch["target"]), weight=self.loss_weight(batch))
        self.val_metrics.update(self.predictions(outputs), batch["target"])

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `index` (B,) and `probabilities` (B, K), or for regression `values` (B, K) in real units; float32."""
        return {"index": batch["index"], self.predicts: self.predictions(self._outputs(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Feature vectors (B, F), float32, of the images as they are, before the head.

        Raises:
            InputError: for a net without `features`.
        """
        if not isinstance(self.net, Net):
            raise InputError(
                f"model.net: {type(self.net).__name__} has no feature vectors: let it inherit from "
                "vesalius.models.nets.Net and define features."
            )
        cache = self._cache_for(batch)
        if cache is not None:
            return self.known_features(batch["index"], batch["image"], cache).float()
        return self.net.features(self.prepare(batch["image"])).float()

    def load_initial(self, state_dict: dict[str, Tensor]) -> list[str]:
        """Start from the weights of a run of this family, or from the encoder of an `autoencoder` run.

        A head with other outputs is left out; that of an encoder always.

        Returns:
            Names of this model's weights that were not replaced.

        Raises:
            InputError: if no parameter fits.
        """
        encoder = trained_encoder(state_dict)
        if encoder:
            state_dict = {f"net.{name}": value for name, value in encoder.items()}
        return super().load_initial(state_dict)

    def fit_start(self, batches: Callable[[Literal["train", "val"]], Iterable[Batch]], device: torch.device) -> None:
        """Fit the head to the features of the images, if the config asks for it."""
        if not self._fits_head:
            return
        self.to(device).eval()
        cache = self.cache or FeatureCache()

        def features(batch: Batch) -> Tensor:
            return self.known_features(batch["index"].to(device), batch["image"].to(device), cache)

        scale = self.loss.standardize if isinstance(self.loss, RegressionLoss) else Tensor.cpu
        fit_regression_head(cast(Net, self.net).head, features, batches("train"), batches("val"), scale, self._task)
        self.train()

    def _outputs_of_known(self, batch: Batch, cache: FeatureCache) -> Tensor:
        """Outputs (B, K) from features that are computed once for each image."""
        features = self.known_features(batch["index"], batch["image"], cache)
        outputs: Tensor = cast(Net, self.net).head(features)
        return outputs

    def _outputs(self, batch: Batch) -> list[Tensor]:
        """Outputs (B, K) of the net for each view of the images, first as they are."""
        cache = self._cache_for(batch)
        if cache is not None and len(self.views) == 1:
            return [self._outputs_of_known(batch, cache)]
        prepared = self.prepare(batch["image"])
        return [self.net(prepared.flip(view) if view else prepared) for view in self.views]

    def _cache_for(self, batch: Batch) -> FeatureCache | None:
        """Of features, for images of the data; gradients of images do not reach through kept features."""
        return None if torch.is_grad_enabled() or "draw" not in batch else self.cache
