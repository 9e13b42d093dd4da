"""Targets of a sample table: as tensors, shuffled among patients, and the facts that a model must know of them."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vesalius.config.facts import Facts
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source


def targets_of(table: pd.DataFrame, source: Source) -> Tensor:
    """(N,) int64 class indices; (N, K) float32 for several labels or continuous targets; K is 0 without labels."""
    if source.task == "unlabelled":
        return torch.zeros(len(table), 0)
    values = table[target_columns(table)].to_numpy()
    if source.task in ("multilabel", "regression"):
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(values[:, 0].astype(np.int64))


def shuffle_labels(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A copy of the table in which each patient's samples get the first target of another patient."""
    columns = target_columns(table)
    first = table.groupby("group_id", sort=True)[columns].first()
    dealt = pd.DataFrame(np.random.default_rng(seed).permutation(first.to_numpy()), index=first.index, columns=columns)
    shuffled = table.copy()
    shuffled[columns] = dealt.loc[table["group_id"]].to_numpy().astype(table[columns].to_numpy().dtype)
    return shuffled


def facts_of(pixels: Tensor, targets: Tensor, source: Source, shape: tuple[int, int, int], value_max: float) -> Facts:
    """What a model must know of single images.

    Args:
        pixels: (M, C, H, W) some of the training images, of the stored type.
        targets: of all training images.
        source: of the images.
        shape: (C, H, W) of the stored images.
        value_max: largest value of the stored type.
    """
    channels, height, width = shape
    values = pixels.to(torch.float32).transpose(0, 1).flatten(1) / value_max
    return Facts(
        task=source.task,
        classes=tuple(source.classes),
        channels=channels,
        image_size=(height, width),
        value_max=value_max,
        train_size=len(targets),
        mean=tuple(values.mean(1).tolist()),
        std=tuple(one_where_constant(values.std(1)).tolist()),
        **_target_facts(targets, source),
    )


def _target_facts(targets: Tensor, source: Source) -> dict[str, Any]:
    if source.task == "regression":
        mean, std = targets.mean(0), one_where_constant(targets.std(0, correction=0))
        counts = [len(targets)] * len(source.classes)
        return {"class_counts": tuple(counts), "target_mean": tuple(mean.tolist()), "target_std": tuple(std.tolist())}
    if source.task == "unlabelled":
        return {"class_counts": ()}
    if source.task == "multilabel":
        counts = targets.sum(0).int().tolist()
    else:
        counts = torch.bincount(targets, minlength=len(source.classes)).tolist()
    return {"class_counts": tuple(counts)}


def one_where_constant(std: Tensor) -> Tensor:
    """Standard deviations to divide by: 1 where a value does not vary, which leaves it as it is."""
    return torch.where(std > 1e-6, std, 1.0)
