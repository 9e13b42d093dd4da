"""Features of a small network with ImageNet weights, on which a linear model is a baseline that learns in seconds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.series_statistics import even_positions
from vesalius.data.store.features import join_features, read_features, write_features
from vesalius.evaluation.feature_extractors import IMAGENET, Extractor, imagenet_extractor
from vesalius.models.nets.weight_sets import find_set
from vesalius.terminal import show_progress

#: Of a longer series, as many evenly spread ones are taken: a baseline is to take seconds.
MOST_FRAMES = 8
_BATCH = 64


def imagenet_features(data: ImageDataModule, rows: Tensor, device: torch.device) -> NDArray[np.float64] | None:
    """Features of images, of a series the mean over its frames, computed once for each and kept next to the images.

    Args:
        data: set up.
        rows: (N,) of its table.
        device: where to compute.

    Returns:
        (N, 1568), of all stages; None where the weights are not installed, or for images that are neither grey nor
        RGB.
    """
    if not find_set("efficientnet_lite0", IMAGENET).installed or data.store.shape[0] not in (1, 3):
        return None
    extractor = imagenet_extractor(device, "stages")
    file = data.store.path / f"imagenet-{MOST_FRAMES}-{extractor.digest}.npz"
    known = read_features(file, len(data.store), extractor.dim)
    missing = np.setdiff1d(rows.numpy(), known[0])
    if len(missing):
        known = join_features(known, (missing, _compute(data, missing, extractor)))
        write_features(file, known)
    return known[1][np.searchsorted(known[0], rows.numpy())].astype(np.float64)


def weights_of_baselines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of the pretrained weights that baselines in `metrics.json` rest on."""
    rests = any(name.endswith(f"_{IMAGENET}") for name in metrics.get("baselines") or ())
    return [find_set("efficientnet_lite0", IMAGENET).to_dict()] if rests else []


def _compute(data: ImageDataModule, rows: NDArray[np.int64], extractor: Extractor) -> NDArray[np.float32]:
    count = min(MOST_FRAMES, int(data.store.lengths.max()))
    frames = even_positions(data.store, torch.from_numpy(rows), count)
    flat = frames.flatten()
    shown = show_progress(iter(torch.split(flat, _BATCH)), len(flat), "ImageNet features", size=len)
    found = [extractor(data.store.frames(part).float() / data.value_max) for part in shown]
    mean = np.concatenate(found).reshape(*frames.shape, -1).mean(axis=1)
    return np.asarray(mean, np.float32)
