"""What the families that predict targets share: loss, metrics and predictions by the task, averaged over flips."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.epoch_metrics.classification import ClassificationMetrics
from vesalius.models.epoch_metrics.regression import RegressionMetrics
from vesalius.models.feature_cache import FeatureCache, encode_alike
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.regression import RegressionLoss
from vesalius.models.nets.base import EncoderBased, Net
from vesalius.models.single_loss import SingleLossModule
from vesalius.models.views import Flip, flip_views


class SupervisedModule(SingleLossModule):
    """A net that predicts classes or continuous targets, whichever the data have.

    Args:
        facts: task, classes, shape and statistics of the data.
        loss: called as `loss(facts=...)`.
        test_time_flips: `horizontal`, `vertical` or both.
        cache_features: compute the features of each image once.
        options: of `SingleLossModule`.

    Attributes:
        views: dimensions to flip for each mirror image; the first view is the image as it is.
        predicts: name of what `predict_step` returns: `probabilities`, or `values` for regression.
        cache: of features; None where they are not kept.

    Raises:
        InputError: for features to keep that change in training.
    """

    METRICS: ClassVar[tuple[str, ...]] = (
        "train/loss",
        "val/loss",
        *(f"val/{name}" for name in (*ClassificationMetrics.names, *RegressionMetrics.names)),
    )

    loss: ClassificationLoss | RegressionLoss
    val_metrics: ClassificationMetrics | RegressionMetrics

    def __init__(
        self,
        facts: Facts,
        *,
        loss: Callable[..., ClassificationLoss | RegressionLoss],
        test_time_flips: Sequence[Flip],
        cache_features: bool,
        **options: Any,
    ) -> None:
        views = flip_views(test_time_flips)
        regression = facts.task == "regression"
        super().__init__(
            val_metrics=RegressionMetrics(facts) if regression else ClassificationMetrics(facts), **options
        )
        if cache_features and not (isinstance(self.encoder, Net) and self.finetune.freezes_all):
            raise InputError(
                "model.cache_features=true: features change while a net is trained: set model.finetune.freeze=all, or "
                "model.cache_features=false."
            )
        self.views = views
        self.cache = FeatureCache() if cache_features else None
        self.loss = loss(facts=facts)
        self.predicts = "values" if regression else "probabilities"

    def predictions(self, outputs: Sequence[Tensor]) -> Tensor:
        """Probabilities, or values in real units, float32.

        Args:
            outputs: of the net for each view, (B, K) each; predictions are averaged over them.

        Returns:
            (B, K).
        """
        convert = self.loss.values if isinstance(self.loss, RegressionLoss) else self.loss.probabilities
        return torch.stack([convert(each) for each in outputs]).mean(dim=0)

    @property
    def encoder(self) -> nn.Module:
        """The image network, with its head."""
        return self.net.encoder if isinstance(self.net, EncoderBased) else self.net

    def known_features(self, numbers: Tensor, image: Tensor, cache: FeatureCache) -> Tensor:
        """Feature vectors (N, F) of images (N, C, H, W) before the encoder's head, computed once for each number (N,).

        In 32 bits, in which predictions are computed after a training in fewer.
        """
        net = cast(Net, self.encoder)

        def compute(new: Tensor) -> Tensor:
            with torch.autocast(image.device.type, enabled=False):
                return encode_alike(lambda some: net.features(self.prepare(some)), image[new])

        with torch.no_grad():
            return cache.get(numbers, compute)
