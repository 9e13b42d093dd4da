"""Anomaly scores of an autoencoder that learned from some classes only: which images are unusual, and where."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import Split
from vesalius.evaluation.autoencoder.outputs import AutoencoderOutputs
from vesalius.evaluation.base import Entries
from vesalius.metrics.anomaly import ErrorMaps, anomaly_metrics, peak_in_mask
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.mahalanobis import Mahalanobis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Scores, as columns `anomaly/<score>` of the predictions.
ERROR, DISTANCE = "reconstruction_error", "latent_mahalanobis"
#: Widths of the smoothing of error maps, in pixels; the one with the best AUROC on validation is used.
SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
_SHOWN = 8

Booleans = NDArray[np.bool_]


def lesion_masks(data: ImageDataModule, size: tuple[int, int]) -> Callable[[int], Booleans] | None:
    """A function from a row of the table to its lesion mask (H, W); None where the source has none of this size."""
    mask = getattr(data.source, "mask", None)
    if mask is None:
        return None
    records = data.table.to_dict("records")
    if np.shape(mask(records[0])) != size:
        return None
    return lambda row: np.asarray(mask(records[row]), dtype=bool)


class AnomalyScores:
    """Reconstruction errors and latent distances, standardised by the normal training images.

    Args:
        outputs: of an autoencoder that learned from the normal classes.
    """

    def __init__(self, outputs: AutoencoderOutputs) -> None:
        self.outputs, self.data = outputs, outputs.data
        self.normal: Tensor = self.data.normal  # type: ignore[attr-defined]

    def score(self, predictions: Mapping[str, pd.DataFrame]) -> dict[str, Entries]:
        """How well each score separates other classes from the normal ones; adds the scores to the test predictions.

        `peak_in_mask` is the share of images with a known lesion whose error is highest inside it.
        """
        table = predictions["test"]
        for score, values in self._scores("test").items():
            table[f"anomaly/{score}"] = values
        metrics = anomaly_metrics(
            table.rename(columns=lambda name: name.removeprefix("anomaly/")),
            scores=(ERROR, DISTANCE),
            normal=self._normal("test"),
            classes=self.data.source.classes,
        )
        if (peaks := self._peaks(table)) is not None:
            metrics[ERROR]["peak_in_mask"] = peaks
        for entry in metrics[ERROR].values():
            entry["note"] = f"errors smoothed by {self.maps.sigma:g} pixels, the best on validation"
        return metrics

    def figure(self) -> "Figure | None":
        """Some unusual test images, their errors, and outlines of known lesions; None without unusual images."""
        from vesalius.figures.reconstruction import error_maps_figure

        rows = self.data.rows("test")
        unusual = rows[~self.normal[rows]]
        if not len(unusual):
            return None
        chosen = unusual[torch.from_numpy(np.unique(np.linspace(0, len(unusual) - 1, _SHOWN).astype(np.int64)))]
        batch = next(self.outputs.batches(chosen))
        maps = self.maps.maps(batch["original"].numpy(), batch["reconstruction"].numpy())
        masks = None if self._mask is None else np.stack([self._mask(row) for row in chosen.tolist()])
        return error_maps_figure(batch["original"].numpy(), maps, masks, self.outputs.class_names(chosen))

    @cached_property
    def maps(self) -> ErrorMaps:
        """Error maps with the smoothing that is best on validation; the middle one without anomalies there."""
        fitted = {sigma: self._fit(sigma) for sigma in SIGMAS}
        normal = self._normal("val")
        if normal.all() or not normal.any():
            return fitted[SIGMAS[len(SIGMAS) // 2]]
        from sklearn.metrics import roc_auc_score

        scores: dict[float, list[NDArray[Any]]] = {sigma: [] for sigma in SIGMAS}
        for batch in self._batches(self.data.rows("val")):
            for sigma, maps in fitted.items():
                scores[sigma].append(maps.score(maps.maps(*batch)))
        areas = {sigma: roc_auc_score(~normal, np.concatenate(values)) for sigma, values in scores.items()}
        return fitted[max(areas, key=lambda sigma: areas[sigma])]

    @cached_property
    def distance(self) -> Mahalanobis:
        """Distance from the codes of the normal training images."""
        codes = [batch["latent"].numpy() for batch in self.outputs.batches(self._normal_training_rows)]
        return Mahalanobis.fit(np.concatenate(codes))

    @property
    def _normal_training_rows(self) -> Tensor:
        rows = self.data.rows("train")
        return rows[self.normal[rows]]

    def _fit(self, sigma: float) -> ErrorMaps:
        maps = ErrorMaps(sigma)
        for batch in self._batches(self._normal_training_rows):
            maps.update(*batch)
        return maps

    def _batches(self, rows: Tensor) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Images and their reconstructions."""
        for batch in self.outputs.batches(rows):
            yield batch["original"].numpy(), batch["reconstruction"].numpy()

    def _normal(self, split: Split) -> Booleans:
        return self.normal[self.data.rows(split)].numpy()

    def _scores(self, split: Split) -> dict[str, NDArray[np.float64]]:
        errors, distances = [], []
        for batch in self.outputs.batches(self.data.rows(split)):
            maps = self.maps.maps(batch["original"].numpy(), batch["reconstruction"].numpy())
            errors.append(self.maps.score(maps))
            distances.append(self.distance.distance(batch["latent"].numpy()))
        return {ERROR: np.concatenate(errors), DISTANCE: np.concatenate(distances)}

    @cached_property
    def _mask(self) -> Callable[[int], Booleans] | None:
        return lesion_masks(self.data, self.outputs.model.preprocess.out_size)

    def _peaks(self, table: pd.DataFrame) -> MetricEntry | None:
        """The metric of test images with a known lesion; None where no lesion is known."""
        if self._mask is None:
            return None
        rows = self.data.rows("test")
        masks = np.stack([self._mask(row) for row in rows.tolist()])
        parts = [self.maps.maps(*batch) for batch in self._batches(rows)]
        with_lesion = masks.any(axis=(1, 2)) & ~self._normal("test")
        maps = np.concatenate(parts)
        return peak_in_mask(maps[with_lesion], masks[with_lesion], table["group_id"].to_numpy()[with_lesion])
