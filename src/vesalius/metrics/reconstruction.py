"""How well images are reconstructed: errors of each image, and their means with intervals over patients."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.groups import effective_groups
from vesalius.metrics.intervals.clustered import t_quantile
from vesalius.metrics.names import RECONSTRUCTION_METRICS
from vesalius.metrics.predictions import number_problems, sample_problems

Floats = NDArray[np.float64]

#: PSNR of a perfect image in dB, which would be infinite, so that means stay finite.
MAX_PSNR = 100.0

_WORST = {"psnr": 0.0, "ssim": -1.0, "mse": 1.0}
_PERFECT = {"psnr": MAX_PSNR, "ssim": 1.0, "mse": 0.0}
_RADIUS = 5  # of SSIM's window: 11 pixels


def image_errors(original: Tensor, reconstruction: Tensor) -> dict[str, Floats]:
    """Errors of each image of a batch, computed in 64 bits.

    `psnr`: peak signal-to-noise ratio in dB, for a peak of 1, at most 100. `ssim`: structural similarity (Wang et al.,
    IEEE Trans. Image Processing 13:600, 2004) in a Gaussian window of 11 x 11 pixels and sigma 1.5, the mean over
    channels and over all pixels: at the border the image is mirrored, as torchmetrics does it, so that every pixel of
    a small image counts. (Others leave out the pixels whose window reaches beyond the image, and get other values.) For
    images smaller than 11 pixels the window and its sigma shrink together to the largest odd side that fits. `mse`:
    mean squared error.

    Args:
        original: (B, C, H, W) in 0..1; H and W at least 3.
        reconstruction: (B, C, H, W) in 0..1; clipping is up to the caller.

    Returns:
        (B,) by metric.

    Raises:
        InputError: for images with a side of fewer than 3 pixels, in which there is no structure to compare.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    height, width = original.shape[-2:]
    if min(height, width) < 3:
        raise InputError(
            f"Images of {height}x{width} pixels are too small for SSIM; set model.preprocess.image_size to 3 or more."
        )
    a, b = original.detach().cpu().double(), reconstruction.detach().cpu().double()
    mse = (a - b).square().flatten(1).mean(1)
    psnr = -10 * mse.clamp_min(10 ** (-MAX_PSNR / 10)).log10()
    radius = min(_RADIUS, (min(height, width) - 1) // 2)
    # The function takes a window of 3.5 sigmas to each side: 11 pixels for sigma 1.5.
    ssim = structural_similarity_index_measure(b, a, sigma=0.3 * radius, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    return {"psnr": psnr.numpy(), "ssim": ssim.reshape(-1).numpy(), "mse": mse.numpy()}


def mean_image_errors(mean_image: NDArray[Any], images: NDArray[Any]) -> dict[str, float]:
    """Mean errors over images (N, C, H, W) if each is replaced by the mean training image (C, H, W); all in 0..1."""
    constant = torch.from_numpy(np.asarray(mean_image, dtype=np.float64))[None]
    parts = [
        image_errors(torch.from_numpy(np.asarray(part, dtype=np.float64)), constant.expand(len(part), -1, -1, -1))
        for part in np.array_split(images, -(-len(images) // 256))
    ]
    return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in RECONSTRUCTION_METRICS}


def reconstruction_metrics(table: pd.DataFrame, *, no_skill: Mapping[str, float | None]) -> dict[str, MetricEntry]:
    """Mean errors over images, with 95 % intervals over patients.

    The standard error of the mean is cluster-robust: the residuals of a patient are summed before they are squared,
    times G/(G-1) for G patients, and Student's t has the effective number of patients less 1 as degrees of freedom.
    `mse` and 1 - `ssim`, which are positive and skewed, have an interval that is symmetric on the log scale. Coverage
    over 4,000 simulated sets with one to five images per patient, correlated by .6 (`pytest -m proof -s
    tests/metrics/test_reconstruction.py`), of `psnr`, `ssim` and `mse`: 94.8, 94.3 and 94.9 % with 60 patients,
    94.8, 94.0 and 93.5 % with 20.

    Args:
        table: `sample_id`, `group_id`, and `psnr`, `ssim` and `mse` of each image, rows in any order.
        no_skill: errors of the mean training image (`mean_image_errors`); None where it is unknown.

    Returns:
        Entries by name. With one patient, or where all images have the same error, which does not show how it varies,
        value and interval are None and there is a `reason`.

    Raises:
        InputError: for a table that lacks columns, rows or numbers.
    """
    _check(table, RECONSTRUCTION_METRICS, "predictions")
    entries = {}
    for name in RECONSTRUCTION_METRICS:
        entry = _mean(table[name].to_numpy(np.float64), table, _PERFECT[name], no_skill[name], log=name != "psnr")
        if entry["ci95"]:
            entry["ci95"] = _within(entry["ci95"], *sorted((_WORST[name], _PERFECT[name])))
        entries[name] = entry
    return entries


def paired_reconstruction_difference(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> MetricEntry:
    """First minus second on the same images: the mean difference, with an interval over patients.

    What makes an image hard for both cancels out, image by image. Interval as for `psnr` in `reconstruction_metrics`.

    Args:
        first: errors of each image, such as the model's.
        second: of the same images in any order, such as those of principal components.
        metric: `psnr`, `ssim` or `mse`.

    Returns:
        An entry with no-skill value 0: no difference.

    Raises:
        InputError: for an unknown metric, incomplete tables, or tables of different images or patients.
    """
    if metric not in RECONSTRUCTION_METRICS:
        raise InputError(f"metric {metric}: unknown; use one of {', '.join(RECONSTRUCTION_METRICS)}.")
    _check(first, [metric], "first predictions")
    _check(second, [metric], "second predictions")
    first, second = (table.sort_values("sample_id", ignore_index=True) for table in (first, second))
    shared = ["sample_id", "group_id"]
    if len(first) != len(second) or (first[shared].astype(str) != second[shared].astype(str)).any(axis=None):
        raise InputError("The two predictions tables differ in samples or patients; compare models on one split.")
    differences = first[metric].to_numpy(np.float64) - second[metric].to_numpy(np.float64)
    return _mean(differences, first, 0.0, 0.0)


def _within(ends: list[float], lowest: float, highest: float) -> list[float]:
    return [min(max(end, lowest), highest) for end in ends]


def _check(table: pd.DataFrame, metrics: Sequence[str], name: str) -> None:
    """Refuse a table whose metrics would be meaningless, with all its problems."""
    problems = sample_problems(table, metrics, name, "evaluate the run again to compute it")
    problems += number_problems(table, metrics, name, "evaluate the run again")
    if problems:
        raise InputError(problems)


def _mean(
    values: Floats, table: pd.DataFrame, perfect: float, no_skill: float | None, *, log: bool = False
) -> MetricEntry:
    """A mean and its interval; `log`: symmetric on the log scale of the distance from `perfect`."""
    groups = pd.factorize(table["group_id"].astype(str))[0].astype(np.int64)
    count = int(groups.max()) + 1
    missing = partial(missing_entry, n=len(values), groups=count, no_skill=no_skill)
    computed = partial(metric_entry, n=len(values), groups=count, no_skill=no_skill)
    if count < 2:
        return missing("one patient only: no interval over patients")
    value = float(values.mean())
    distance = abs(value - perfect)
    residuals = np.bincount(groups, weights=values - value, minlength=count)
    error = float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / len(values))
    if error <= 1e-12 * abs(value) and distance > 1e-12:
        return missing("all patients have the same error: no interval over patients")
    half = t_quantile(effective_groups(np.ones(len(values), dtype=np.bool_), groups) - 1) * error
    if not log or distance <= 1e-12:
        return computed(value, Interval(value - half, value + half, "cluster t"))
    factor = float(np.exp(min(half / distance, 700)))
    sign = 1 if value > perfect else -1
    low, high = sorted(perfect + sign * distance * scale for scale in (1 / factor, factor))
    return computed(value, Interval(low, high, "cluster t on the log scale"))
