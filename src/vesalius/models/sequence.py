"""The `lstm` model family: classes or continuous targets of an image series."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.family import Batch, ChannelsLast
from vesalius.models.finetune import Finetune
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.regression import RegressionLoss
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.series.base import SeriesNet
from vesalius.models.single_loss import trained_encoder
from vesalius.models.supervised import SupervisedModule
from vesalius.models.views import Flip

_ENCODER = "net.encoder."


class SequenceClassifier(SupervisedModule):
    """Trains a net to classify image series, or to predict continuous targets of them.

    A batch is a dict of `image` (B, T, C, H, W) in 0..value_max, `mask` (B, T), True where a frame is real (padding
    is at the end), `time` (B, T) seconds since the first frame, `index` (B,) row numbers of the sample table, `frame`
    (B, T) numbers of the frames in the data, which only `cache_features` reads, and `target`: class indices (B,), or 0
    and 1 (B, K) for multilabel, or values (B, K) for regression.

    Args:
        facts: task, classes, shape and statistics of the data.
        net: called as `net(in_channels=..., num_outputs=..., time_step=..., sequence_length=...)`.
        loss: called as `loss(facts=...)`.
        optimizer: called with parameter groups, such as a partial of `torch.optim.AdamW`.
        preprocess: called as `preprocess(facts=...)`; works on single frames.
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`; None keeps the learning rate.
        finetune: which parts of the frame encoder are trained when; None: all of them, always, at one learning rate.
        test_time_flips: `horizontal`, `vertical` or both. In validation and prediction, probabilities (or values) are
            averaged over the series and its mirror images.
        channels_last: store the encoder's kernels with channels innermost, which most convolutions are faster with;
            `auto`: in training, except in 32 bits on a CPU.
        cache_features: compute the features of each frame once, for a net whose encoder is frozen below its head
            (`finetune.freeze=all`), on series that are not augmented.

    Raises:
        InputError: if the parts do not fit the data or each other.
    """

    net: SeriesNet

    def __init__(
        self,
        facts: Facts,
        net: Callable[..., SeriesNet],
        loss: Callable[..., ClassificationLoss | RegressionLoss],
        optimizer: Callable[..., Optimizer],
        preprocess: Callable[..., Preprocess],
        schedule: Callable[..., LRScheduler] | None = None,
        finetune: Finetune | None = None,
        test_time_flips: Sequence[Flip] = (),
        channels_last: ChannelsLast = True,
        cache_features: bool = False,
    ) -> None:
        if facts.sequence_length is None:
            raise InputError("model: the data has single images, and this model takes image series: choose model=cnn.")
        prepare = preprocess(facts=facts)
        module = net(
            in_channels=prepare.out_channels,
            num_outputs=facts.num_classes,
            time_step=facts.time_step or 1.0,
            sequence_length=facts.sequence_length,
        )
        module.check_image(prepare.out_channels, *prepare.out_size)
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

    def forward(self, image: Tensor, mask: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """Map image series to logits, or to standardised values.

        Args:
            image: (B, T, C, H, W) in 0..value_max.
            mask: (B, T), True at real frames; None: all are.
            time: (B, T) seconds since the first frame; None: frames at the usual time step.

        Returns:
            (B, K), before softmax or sigmoid.
        """
        return self.net(*self._prepare_series(image, mask, time))  # type: ignore[no-any-return]

    @property
    def compiled_parts(self) -> Sequence[nn.Module]:
        """The frame encoder, which does most of the work; shapes of later layers vary with the batch."""
        return [self.net.encoder]

    def batch_loss(self, batch: Batch) -> Tensor:
        """The mean loss over the samples of a training batch."""
        outputs = self.net.read(self._encode(batch), batch["mask"], batch["time"])
        loss: Tensor = self.loss(outputs, batch["target"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the epoch's loss, of the series as they are, and metrics, averaged over flips."""
        outputs = self._outputs(batch)
        self.val_loss.update(self.loss(outputs[0], batch["target"]), weight=self.loss_weight(batch))
        self.val_metrics.update(self.predictions(outputs), batch["target"])

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `index` (B,) and `probabilities` (B, K), or for regression `values` (B, K) in real units; float32."""
        return {"index": batch["index"], self.predicts: self.predictions(self._outputs(batch))}

    def predict_steps(self, batch: Batch) -> Tensor:
        """Probabilities or values (B, T, K) after each frame, as if the series had ended there."""
        outputs = self.net.forward_steps(*self._prepare_series(batch["image"], batch["mask"], batch["time"]))
        return self.predictions([outputs.flatten(0, 1)]).reshape(outputs.shape)

    def hidden_states(self, batch: Batch) -> Tensor:
        """States (B, T, F) after each frame; undefined at padding."""
        return self.net.states_of(self._encode(batch), batch["mask"], batch["time"])

    def embed(self, batch: Batch) -> Tensor:
        """Feature vectors (B, F), float32: the states of each series, pooled over time, before the head."""
        pooled: Tensor = self.net.pooling(self.hidden_states(batch), batch["mask"])
        return pooled.float()

    def load_initial(self, state_dict: dict[str, Tensor]) -> list[str]:
        """Start from the weights of a run of this family, or take the net of another family as frame encoder.

        That is the net of a `cnn` run, or the encoder of an `autoencoder` run, without their heads.

        Returns:
            Names of this model's weights that were not replaced.

        Raises:
            InputError: if no parameter fits.
        """
        encoder = trained_encoder(state_dict)
        if encoder:
            state_dict = {f"{_ENCODER}{name}": value for name, value in encoder.items()}
        elif not any(name.startswith(_ENCODER) for name in state_dict):
            state_dict = {
                f"{_ENCODER}{name.removeprefix('net.')}": value
                for name, value in state_dict.items()
                if name.startswith("net.") and not name.startswith("net.head.")
            }
        return super().load_initial(state_dict)

    def _prepare_series(self, image: Tensor, mask: Tensor | None, time: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = image.shape[:2]
        if mask is None:
            mask = torch.ones(shape, dtype=torch.bool, device=image.device)
        if time is None:
            time = torch.arange(shape[1], device=image.device).expand(shape) * self.net.time_step
        prepared: Tensor = self.preprocess(image.flatten(0, 1))
        return prepared.reshape(*shape, *prepared.shape[1:]), mask, time

    def _outputs(self, batch: Batch) -> list[Tensor]:
        """Outputs of the net for each view of the series, first as they are."""
        if len(self.views) == 1:
            return [self.net.read(self._encode(batch), batch["mask"], batch["time"])]
        prepared, mask, time = self._prepare_series(batch["image"], batch["mask"], batch["time"])
        return [self.net(prepared.flip(view) if view else prepared, mask, time) for view in self.views]

    def _encode(self, batch: Batch) -> Tensor:
        """Features (B, T, F) of frames; if the encoder is frozen, they are computed once for each."""
        mask, cache = batch["mask"], self.cache
        # Gradients of images, as explanations need them, do not reach through kept features.
        if cache is None or "frame" not in batch or (torch.is_grad_enabled() and not self.training):
            return self.net.encode(self._prepare_series(batch["image"], mask, batch["time"])[0], mask)
        return self.net.project(self.known_features(batch["frame"][mask], batch["image"][mask], cache), mask)
