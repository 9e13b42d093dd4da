"""Results of autoencoders: reconstructions compared to PCA's, what features are worth for labels, and anomalies.

`metrics.json` has, besides `val`, `test` (`psnr`, `ssim`, `mse`) and `baselines` (`pca`, of as many components):

* `extractor`: the hash of the encoder whose features were used.
* `probes`: `{FRACTION: {ARM: {METRIC: M}}}`, where labels exist: simple classifiers on the features, fitted with part
  of the training labels. Arms are `<features>_<classifier>` of `latent`, `pca` (as many components), `random`
  (the same encoder, untrained) and `pixels`. `auroc_difference` is that of the latent features minus the arm's.
* `anomaly`: `{SCORE: {METRIC: M}}`, where the model learned from some classes only.
"""

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.samples import Split
from vesalius.evaluation.autoencoder.anomaly import AnomalyScores
from vesalius.evaluation.autoencoder.outputs import AutoencoderOutputs
from vesalius.evaluation.autoencoder.probes import score_probes
from vesalius.evaluation.base import SCHEMA, Entries, Metrics, Results, Start
from vesalius.evaluation.embedding import extractor_hash
from vesalius.evaluation.monitoring.out_of_distribution import fit_out_of_distribution
from vesalius.metrics.names import RECONSTRUCTION_METRICS
from vesalius.metrics.reconstruction import (
    image_errors,
    mean_image_errors,
    paired_reconstruction_difference,
    reconstruction_metrics,
)
from vesalius.models.autoencoder.autoencoder import Autoencoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

_SHOWN = 8
_MAPPED = 2_000
_STEPS = 9


class ReconstructionResults(Results):
    """Reconstructions, features and anomaly scores of an autoencoder."""

    model: Autoencoder

    @cached_property
    def outputs(self) -> AutoencoderOutputs:
        """Reconstructions and codes of the model."""
        return AutoencoderOutputs(self)

    @cached_property
    def anomalies(self) -> AnomalyScores:
        """Scores of images unlike those that the model learned from."""
        return AnomalyScores(self.outputs)

    def predictions(self, split: Split) -> pd.DataFrame:
        """`psnr` (dB), `ssim` and `mse` of each image's reconstruction, on the scale where white is 1."""
        return self._errors(self.data.rows(split), lambda batch: batch["reconstruction"])

    def score(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Mean errors of each split."""
        of_splits = {name: reconstruction_metrics(table, no_skill=self.no_skill) for name, table in predictions.items()}
        return {"schema": SCHEMA, "task": "reconstruction", **of_splits}

    def rescore(
        self, predictions: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame], metrics: Metrics
    ) -> Metrics:
        """Mean errors of the splits and of principal components."""
        again: Metrics = {
            split: self.score_table(table, {"test": metrics[split]}) for split, table in predictions.items()
        }
        arms = {arm: self._against(predictions["test"], table, metrics) for arm, table in baselines.items()}
        return again | ({"baselines": arms} if arms else {})

    def _against(self, own: pd.DataFrame, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Mean errors of a baseline, and the model's minus them."""
        entries = self.score_table(table, metrics)
        for name in list(entries):
            entries[f"{name}_difference"] = paired_reconstruction_difference(own, table, name)
        return entries

    def score_table(self, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Mean errors of some images."""
        return reconstruction_metrics(table, no_skill={name: m["no_skill"] for name, m in metrics["test"].items()})

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> dict[str, Entries]:
        """Principal components of the training images, as many as the code is long; and the model minus them."""
        table = self._errors(self.data.rows("test"), lambda batch: self.outputs.project(batch["original"]))
        self.baseline_tables = {"pca": table}
        return {"pca": self._against(predictions["test"], table, metrics)}

    def analyses(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """What features are worth, and how well anomalies are found; adds their scores to the test predictions."""
        found: Metrics = {"extractor": extractor_hash(self.model, self.config["model"])}
        found |= fit_out_of_distribution(self)
        if self.config["evaluation"]["probes"]:
            found["probes"] = score_probes(self.outputs)
        if getattr(self.data, "normal", None) is not None:
            found["anomaly"] = self.anomalies.score(predictions)
        return found

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Reconstructions side by side, a map of the latent space, a walk through it, and maps of errors."""
        from vesalius.figures import reconstruction as drawing

        rows, table = self.data.rows("test"), predictions["test"]
        chosen = np.unique(np.linspace(0, len(rows) - 1, _SHOWN).astype(np.int64))
        batch = next(self.outputs.batches(rows[torch.from_numpy(chosen)]))
        original, reconstruction = batch["original"].numpy(), batch["reconstruction"].numpy()
        captions = [f"{value:.1f} dB" for value in table["psnr"].iloc[chosen]]
        can_project = self.outputs.has_training_images
        components = self.outputs.project(batch["original"]).numpy() if can_project else None
        figures = {"reconstructions": drawing.reconstructions_figure(original, reconstruction, components, captions)}
        spread = rows[:: max(1, -(-len(rows) // _MAPPED))]
        latent = np.concatenate([batch["latent"].numpy() for batch in self.outputs.batches(spread)])
        figures["latent_map"] = drawing.latent_map_figure(latent, self.outputs.class_names(spread))
        figures["walk"] = self._walk(latent, spread)
        if "anomaly" in metrics and (maps := self.anomalies.figure()) is not None:
            figures["error_maps"] = maps
        return figures

    @cached_property
    def no_skill(self) -> dict[str, float | None]:
        """Errors of the mean training image on test images; unknown on other data than the run's."""
        if not self.outputs.has_training_images:
            return dict.fromkeys(RECONSTRUCTION_METRICS)
        mean = self.outputs.originals("train").mean(axis=0)
        return dict(mean_image_errors(mean, self.outputs.originals("test")))

    def _errors(self, rows: Tensor, draw: Callable[[dict[str, Tensor]], Tensor]) -> pd.DataFrame:
        """The table of some rows, with the errors of the images that `draw` gives for a batch of outputs."""
        parts = [image_errors(batch["original"], draw(batch)) for batch in self.outputs.batches(rows)]
        columns: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts]) for name in RECONSTRUCTION_METRICS
        }
        return self.outputs.table(rows).assign(**columns)

    def _walk(self, latent: NDArray[np.float32], rows: Tensor) -> "Figure":
        """Decoded steps between two test images whose codes are far from each other."""
        from vesalius.figures.reconstruction import walk_figure

        centred = latent - latent.mean(axis=0)
        first = int((centred**2).sum(axis=1).argmax())
        last = int(((latent - latent[first]) ** 2).sum(axis=1).argmax())
        parts = torch.linspace(0, 1, _STEPS)[:, None]
        ends = torch.from_numpy(latent[[first, last]]).to(self.device)
        with torch.inference_mode():
            steps = self.model.decode(torch.lerp(ends[:1], ends[1:], parts.to(self.device))).cpu().numpy()
        names = self.outputs.class_names(rows)
        titles = ("one patient", "another") if names is None else (names[first], names[last])
        return walk_figure(steps, *titles)
