"""Features of a frozen encoder outlive a run: kept next to the decoded images, where the next run finds them."""

import json
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.store.features import join_features, read_features, write_features
from vesalius.models.feature_cache import hash_tensors
from vesalius.models.nets.base import Net
from vesalius.models.supervised import SupervisedModule

_VERSION = 1


class KeepFeatures(pl.Callback):
    """Loads the known features when training starts, once the weights are there, and keeps them when it ends."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load what an earlier run has kept."""
        load_features(pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what this run has computed."""
        if trainer.is_global_zero:
            keep_features(pl_module, trainer.datamodule)  # type: ignore[attr-defined]


def load_features(model: pl.LightningModule, data: ImageDataModule) -> None:
    """Give a model that caches the features of its frozen encoder those that are kept; others are left as they are.

    Args:
        model: with its final weights of the encoder, on the device where it computes.
        data: set up.
    """
    if not isinstance(model, SupervisedModule) or model.cache is None:
        return
    rows, features = read_features(_file(model, data), _count(data), _dim(model))
    model.cache.add(torch.from_numpy(rows), torch.from_numpy(features))


def keep_features(model: pl.LightningModule, data: ImageDataModule) -> None:
    """Write what the model's cache holds next to the decoded images; arguments as for `load_features`."""
    if not isinstance(model, SupervisedModule) or model.cache is None:
        return
    rows, features = model.cache.known()
    if not len(rows):
        return
    real = rows < _count(data)  # synthetic images are numbered after the real ones, and others in another run
    file = _file(model, data)
    before = read_features(file, _count(data), _dim(model))
    known = join_features(before, (rows[real].numpy(), features[real].float().cpu().numpy()))
    if len(known[0]) > len(before[0]):
        write_features(file, known)


def _dim(model: SupervisedModule) -> int:
    return cast(Net, model.encoder).feature_dim


def _count(data: ImageDataModule) -> int:
    return int(data.real_store.offsets[-1])


def _file(model: SupervisedModule, data: ImageDataModule) -> Path:
    """Named by all that features depend on, besides the images."""
    prepare, encoder = model.preprocess, model.encoder
    settings = [_VERSION, type(encoder).__name__, prepare.out_channels, prepare.out_size, model.device.type]
    weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith("head.")}
    digest = hash_tensors(json.dumps(settings), {**weights, **dict(prepare.named_buffers())})
    return data.real_store.path / f"features-{digest}.npz"
