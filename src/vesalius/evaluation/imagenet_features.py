"""Features of a small network with ImageNet weights, on which a linear model is a baseline that learns in seconds."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.evaluation.feature_extractors import IMAGENET, Extractor, imagenet_extractor
from vesalius.models.nets.weight_sets import find_set
from vesalius.terminal import show_progress

logger = logging.getLogger("vesalius")

_BATCH = 64


def imagenet_features(data: ImageDataModule, rows: Tensor, device: torch.device) -> NDArray[np.float64] | None:
    """Features of images, computed once for each and kept next to the decoded images.

    Args:
        data: set up, of single images.
        rows: (N,) of its table.
        device: where to compute.

    Returns:
        (N, 1280); None where the weights are not installed, or for images that are neither grey nor RGB.
    """
    if not find_set("efficientnet_lite0", IMAGENET).installed or data.store.series or data.store.shape[0] not in (1, 3):
        return None
    extractor = imagenet_extractor(device)
    file = data.store.path / f"imagenet-{extractor.digest}.npz"
    known = _read(file, extractor.dim, len(data.store))
    missing = np.setdiff1d(rows.numpy(), known[0])
    if len(missing):
        known = _join(known, (missing, _compute(data, missing, extractor)))
        _write(file, known)
    return known[1][np.searchsorted(known[0], rows.numpy())].astype(np.float64)


def weights_of_baselines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of the pretrained weights that baselines in `metrics.json` rest on."""
    rests = any(name.endswith(f"_{IMAGENET}") for name in metrics.get("baselines") or ())
    return [find_set("efficientnet_lite0", IMAGENET).to_dict()] if rests else []


_Known = tuple[NDArray[np.int64], NDArray[np.float32]]


def _compute(data: ImageDataModule, rows: NDArray[np.int64], extractor: Extractor) -> NDArray[np.float32]:
    parts = torch.split(torch.from_numpy(rows), _BATCH)
    shown = show_progress(iter(parts), len(rows), "ImageNet features", size=len)
    found = [extractor(data.store[part].float() / data.value_max) for part in shown]
    return np.concatenate(found).astype(np.float32)


def _read(file: Path, dim: int, count: int) -> _Known:
    """Rows, rising, and their features; none where the file is missing or damaged, since it can be written again."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            rows, features = np.asarray(stored["rows"], np.int64), np.asarray(stored["features"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        rows, features = np.empty(0, np.int64), np.empty((0, dim), np.float32)
    whole = features.shape == (len(rows), dim) and (np.diff(rows) > 0).all() and (rows < count).all()
    return (rows, features) if whole else (rows[:0], np.empty((0, dim), np.float32))


def _join(one: _Known, other: _Known) -> _Known:
    rows, features = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(rows)
    return rows[order], features[order]


def _write(file: Path, known: _Known) -> None:
    """Written to a name of its own and renamed; a cache that cannot be written costs time only."""
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as opened:
            np.savez(opened, rows=known[0], features=known[1])
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        logger.info("ImageNet features are not kept: %s.", error.strerror)
