"""Features to compare images in: of a run's encoder, with ImageNet weights, of Inception from a file, or random."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.embedding import extractor_hash
from vesalius.models.family import output_kind
from vesalius.models.nets.efficientnet_lite import EfficientNetLite0
from vesalius.models.nets.random_features import RandomFeatures
from vesalius.models.nets.tensor_files import load_tensors
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

#: As `evaluation.extractor`: the network with the ImageNet weights that the extra `weights` installs.
IMAGENET = "imagenet"
#: Its input, in pixels: on smaller images its features tell little apart, and the cost grows with the area.
_IMAGENET_SIDE = 128
_INCEPTION_SIDE = 299
#: On a CPU, arrays between layers stay below the 32 MiB up to which the allocator keeps their memory (see
#: `vesalius.launch.allocator`).
_BATCH, _CPU_BATCH = 256, 16


@dataclass(frozen=True)
class Extractor:
    """A function from images to feature vectors, with what identifies it next to every metric computed in them.

    Attributes:
        name: `random`, `imagenet`, `inception`, or the last two parts of a run's path.
        layer: whose outputs are the features.
        digest: equal for equal weights.
        dim: length of a feature vector.
        embed: maps images (B, C, H, W) on the scale where white is 1 to (B, dim), on the device where they are.
        device: where it computes.
    """

    name: str
    layer: str
    digest: str
    dim: int
    embed: Callable[[Tensor], Tensor]
    device: torch.device

    def to_dict(self) -> dict[str, Any]:
        """The entry `extractor` of `metrics.json`."""
        return {"name": self.name, "layer": self.layer, "hash": self.digest, "dim": self.dim}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> NDArray[np.float64]:
        """Features (N, dim) of images (N, C, H, W) on the scale where white is 1."""
        size = _CPU_BATCH if self.device.type == "cpu" else _BATCH
        parts = [self.embed(part.to(self.device)).float().cpu() for part in torch.split(images, size)]
        return np.asarray(torch.cat(parts).numpy(), np.float64)


def load_extractor(named: str | None, facts: Facts, device: torch.device) -> Extractor:
    """An extractor for images of some data.

    Args:
        named: a run's folder, of the `cnn` or `autoencoder` family; `imagenet` for the weights of the extra `weights`;
            a file with torchvision's weights of Inception v3; None for an untrained net.
        facts: of the images.
        device: where to compute.

    Raises:
        InputError: for anything else, and for an extractor of other images.
    """
    if named is None:
        return _random(facts, device)
    if named == IMAGENET:
        if facts.channels not in (1, 3):
            raise InputError(
                f"evaluation.extractor={named}: it takes grey and RGB images, not {facts.channels} channels."
            )
        return imagenet_extractor(device)
    if Path(named).is_file():
        return _inception(Path(named), device)
    folder = RunFolder(named)
    checkpoint = load_checkpoint(folder.best)
    model, own = restore_model(checkpoint), Facts.from_dict(checkpoint["facts"])
    if output_kind(model) == "samples" or own.sequence_length is not None:
        raise InputError(f"evaluation.extractor={named}: name a run that learned from single images: cnn, autoencoder.")
    if own.channels != facts.channels:
        raise InputError(
            f"evaluation.extractor={named}: it takes images of {own.channels} channels, and these have "
            f"{facts.channels}: train one on these data, or set data.channels={own.channels}."
        )
    embed = _of_run(model, own)
    dim = embed(torch.zeros(1, own.channels, *own.image_size)).shape[1]
    name = "/".join(folder.path.resolve().parts[-2:])
    return Extractor(name, "features", extractor_hash(model, checkpoint["config"]["model"]), dim, embed, device)


def _random(facts: Facts, device: torch.device) -> Extractor:
    net = RandomFeatures(facts.channels)
    layer = "mean and spread of each layer"

    def embed(images: Tensor) -> Tensor:
        features: Tensor = net.to(images.device)(images * 2 - 1)
        return features

    return Extractor("random", layer, "seed 0", net.feature_dim, embed, device)


def imagenet_extractor(device: torch.device, layers: Literal["last", "stages"] = "last") -> Extractor:
    """EfficientNet-Lite0 with its packaged ImageNet weights, for grey and RGB images of any size.

    Args:
        device: where to compute.
        layers: of the net, as its argument.

    Raises:
        InputError: if the weights are not installed.
    """
    net = EfficientNetLite0(3, 1, weights=IMAGENET, layers=layers)
    net.load_pretrained()
    net = net.eval()
    digest = extractor_hash(net.trunk, {"side": _IMAGENET_SIDE})
    net.fold_batch_norms()
    net = net.to(memory_format=torch.channels_last)
    record = net.weight_set
    assert record is not None
    assert record.mean is not None
    assert record.std is not None
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (record.mean, record.std))

    def embed(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        side = (_IMAGENET_SIDE, _IMAGENET_SIDE)
        if tuple(images.shape[-2:]) != side:
            images = F.interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)
        images = (images - mean.to(images.device)) / std.to(images.device)
        features: Tensor = net.to(images.device).features(images.contiguous(memory_format=torch.channels_last))
        return features

    return Extractor(IMAGENET, f"{net.feature_dim} features", digest, net.feature_dim, embed, device)


def _of_run(model: pl.LightningModule, own: Facts) -> Callable[[Tensor], Tensor]:
    """The model's features of images of any size, resized and rounded to the stored type of its own data."""

    def embed(images: Tensor) -> Tensor:
        if tuple(images.shape[-2:]) != own.image_size:
            images = F.interpolate(images, size=own.image_size, mode="bilinear", antialias=True, align_corners=False)
        stored = images.clamp(0, 1) * own.value_max
        batch = {"image": stored.round() if own.value_max > 1 else stored}
        features: Tensor = model.to(images.device).embed(batch)  # type: ignore[operator]
        return features

    return embed


def _inception(path: Path, device: torch.device) -> Extractor:
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=False)
    try:
        net.load_state_dict(load_tensors(path))
    except Exception as error:
        raise InputError(
            f"evaluation.extractor={path}: not a file with torchvision's weights of Inception v3 "
            f"({str(error).splitlines()[0]})."
        ) from error
    net.fc = nn.Identity()
    net = net.eval()

    def embed(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        side = (_INCEPTION_SIDE, _INCEPTION_SIDE)
        images = F.interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)
        features: Tensor = net.to(images.device)(images * 2 - 1)  # its weights are not of ImageNet's normalisation
        return features

    return Extractor("inception", "pool3", extractor_hash(net, {}), 2048, embed, device)
