"""Results of a model that gives anomaly maps: how well its scores separate unusual images, and whether maps find why.

`metrics.json` has, besides `val` and `test` (`auroc`, `average_precision`, and `auroc/<class>` of each unusual class
against the normal ones; of `test` also `peak_in_mask` where lesions are known), `baselines`: `pca_error`, the error of
reconstructions from principal components of the normal training images, standardised pixel by pixel.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.samples import Split
from vesalius.evaluation.autoencoder.anomaly import lesion_masks
from vesalius.evaluation.autoencoder.outputs import AutoencoderOutputs
from vesalius.evaluation.base import SCHEMA, Entries, Metrics, Results, Start
from vesalius.evaluation.embedding import extractor_hash
from vesalius.evaluation.monitoring.out_of_distribution import fit_out_of_distribution
from vesalius.metrics.anomaly import ErrorMaps, anomaly_metrics, peak_in_mask
from vesalius.metrics.baselines.principal_components import MAX_TRAIN, PrincipalComponents
from vesalius.metrics.entry import missing_entry
from vesalius.metrics.names import RANKING
from vesalius.models.padim import PaDiM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The column of the score, higher for what is more unusual; and whether a sample is of a class that was learned from.
SCORE, NORMAL = "anomaly/score", "normal"
_UNKNOWN = "no class is unusual: name those to learn from with data.train_classes"
_COMPONENTS, _SIGMA = 32, 1.0
_SHOWN = 8


class AnomalyResults(Results):
    """Anomaly scores and maps of test images."""

    model: PaDiM

    @cached_property
    def outputs(self) -> AutoencoderOutputs:
        """Maps, scores and features of the model."""
        return AutoencoderOutputs(self)

    def predictions(self, split: Split) -> pd.DataFrame:
        """The score of each image, and where classes were named to learn from, whether its own is one of them."""
        scores = [batch["score"].numpy() for batch in self.outputs.batches(self.data.rows(split))]
        return self._table(split, np.concatenate(scores))

    def _table(self, split: Split, scores: NDArray[Any]) -> pd.DataFrame:
        rows = self.data.rows(split)
        table = self.outputs.table(rows).assign(**{SCORE: scores.astype(np.float64)})
        return table if self._normal is None else table.assign(**{NORMAL: self._normal[rows].numpy().astype(int)})

    @cached_property
    def _normal(self) -> Tensor | None:
        """Whether each row of the table is of a class that the run learned from; None where that is not known."""
        names, classes = self.config["data"].get("train_classes"), self.data.source.classes
        names = [names] if isinstance(names, str) else names or []
        numbers = [number for number, name in enumerate(classes) if name in names]
        return torch.isin(self.data.targets, torch.tensor(numbers)) if numbers else None

    def score(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """How well scores separate unusual from normal images; of the test, whether maps peak inside known lesions."""
        metrics: Metrics = {"schema": SCHEMA, "task": "anomaly"}
        metrics |= {name: self.score_table(table, metrics) for name, table in predictions.items()}
        if "test" in predictions and NORMAL in predictions["test"] and (mask := lesion_masks(self.data, self._size)):
            rows, table = self.data.rows("test"), predictions["test"]
            masks = np.stack([mask(row) for row in rows.tolist()])
            shown = masks.any(axis=(1, 2)) & (table[NORMAL] == 0).to_numpy()
            groups = table["group_id"].to_numpy()[shown]
            metrics["test"]["peak_in_mask"] = peak_in_mask(self._maps(rows)[shown], masks[shown], groups)
        return metrics

    def score_table(self, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Metrics of some images, from their scores."""
        if NORMAL not in table or table[NORMAL].all():
            return {name: missing_entry(_UNKNOWN, n=len(table), groups=table["group_id"].nunique()) for name in RANKING}
        normal = table[NORMAL].to_numpy(dtype=bool)
        classes = self.facts.classes if self.data is None else self.data.source.classes  # None: only tables are known
        return anomaly_metrics(table, scores=(SCORE,), normal=normal, classes=classes)[SCORE]

    def rescore(
        self, predictions: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame], metrics: Metrics
    ) -> Metrics:
        """Metrics of the splits and of the baselines; `peak_in_mask` needs the maps."""
        again: Metrics = {split: self.score_table(table, metrics) for split, table in predictions.items()}
        arms = {arm: self.score_table(table, metrics) for arm, table in baselines.items()}
        return again | ({"baselines": arms} if arms else {})

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> dict[str, Entries]:
        """The error of reconstructions from principal components of the training images."""
        components = PrincipalComponents.fit(
            self._images(self.data.spread_rows("train", MAX_TRAIN)), _COMPONENTS, seed=self.config["seed"]
        )

        def drawn(split: Split) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
            for part in torch.split(self.data.rows(split), self.data.eval_batch_size):
                images = self._images(part)
                yield images, components.reconstruct(components.project(images))

        maps = ErrorMaps(_SIGMA)
        for pair in drawn("train"):
            maps.update(*pair)
        table = self._table("test", np.concatenate([maps.score(maps.maps(*pair)) for pair in drawn("test")]))
        self.baseline_tables = {"pca_error": table}
        return {"pca_error": self.score_table(table, metrics)}

    def analyses(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """The encoder's hash, and the statistics of features that new images are compared with."""
        return {"extractor": extractor_hash(self.model, self.config["model"]), **fit_out_of_distribution(self)}

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Some test images, unusual ones where these are known, with their maps and outlines of known lesions."""
        from vesalius.figures.reconstruction import error_maps_figure

        rows = self.data.rows("test")
        rows = rows if self._normal is None or self._normal[rows].all() else rows[~self._normal[rows]]
        chosen = rows[torch.from_numpy(np.unique(np.linspace(0, len(rows) - 1, _SHOWN).astype(np.int64)))]
        mask = lesion_masks(self.data, self._size)
        masks = None if mask is None else np.stack([mask(row) for row in chosen.tolist()])
        names = self.outputs.class_names(chosen)
        return {"anomaly_maps": error_maps_figure(self._images(chosen), self._maps(chosen), masks, names)}

    @property
    def _size(self) -> tuple[int, int]:
        return self.facts.image_size

    def _maps(self, rows: Tensor) -> NDArray[np.float32]:
        return np.concatenate([batch["map"].numpy() for batch in self.outputs.batches(rows)])

    def _images(self, rows: Tensor) -> NDArray[np.float32]:
        """Stored images (N, C, H, W) on the scale where white is 1."""
        return (self.data.store[rows].float() / self.data.value_max).numpy()
