"""Results of autoencoders: reconstructions beside PCA's, what features are worth for labels, and anomalies.

`metrics.json` has, besides `val`, `test` (`psnr`, `ssim`, `mse`) and `baselines` (`pca`, of as many components):

* `extractor`: the hash of the encoder that the features are from.
* `probes`: `{FRACTION: {ARM: {METRIC: M}}}`, where labels exist: what simple classifiers make of the features, with
  part of the training labels. Arms are `<features>_<classifier>` of `latent`, `pca` (as many components), `random`
  (the same encoder, never trained) and `pixels`. `auroc_difference` is that of the latent features minus the arm's.
* `anomaly`: `{SCORE: {METRIC: M}}`, where the model learned from some classes alone.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.samples import Split, target_columns
from vesalius.evaluation.anomaly import Anomalies
from vesalius.evaluation.base import SCHEMA, Metrics, Results, Start
from vesalius.evaluation.embedding import extractor_hash
from vesalius.evaluation.probes import judge_probes
from vesalius.metrics.baselines.principal_components import MAX_TRAIN, PrincipalComponents
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
_MAX_VALUES = 2**27  # of images held at once for PCA: half a gigabyte

Floats = NDArray[np.float64]


class ReconstructionResults(Results):
    """Reconstructions, features and anomaly scores of an autoencoder."""

    model: Autoencoder

    def batches(self, rows: Tensor) -> Iterator[dict[str, Tensor]]:
        """Answers of the model for some rows, on the CPU: `original`, `reconstruction`, `latent` and `index`."""
        model = self.model.to(self.device).eval()
        for part in torch.split(rows, self.data.eval_batch_size):
            with torch.inference_mode():
                batch = {"image": self.data.store[part].to(self.device), "index": part}
                yield {name: value.cpu() for name, value in model.predict_step(batch).items()}

    def predictions(self, split: Split) -> pd.DataFrame:
        """`psnr` (dB), `ssim` and `mse` of each image's reconstruction, on the scale where white is 1."""
        return self._judged(self.data.rows(split), lambda answer: answer["reconstruction"])

    def judge(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Mean errors of each split."""
        told = {split: reconstruction_metrics(table, no_skill=self.no_skill) for split, table in predictions.items()}
        return {"schema": SCHEMA, "task": "reconstruction", **told}

    def judge_table(self, table: pd.DataFrame, metrics: Metrics) -> Metrics:
        """Mean errors of some images."""
        return reconstruction_metrics(table, no_skill={name: m["no_skill"] for name, m in metrics["test"].items()})

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> Metrics:
        """Principal components of the training images, as many as the code is long; and the model minus them."""
        table = self._judged(self.data.rows("test"), lambda answer: self._by_components(answer["original"]))
        self.baseline_tables = {"pca": table}
        told = reconstruction_metrics(table, no_skill=self.no_skill)
        for name in list(told):
            told[f"{name}_difference"] = paired_reconstruction_difference(predictions["test"], table, name)
        return {"pca": told}

    def evidence(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """What features are worth, and which images the model finds unusual; adds scores to the test predictions."""
        told: Metrics = {"extractor": extractor_hash(self.model, self.config["model"])}
        if self.config["evaluation"]["probes"]:
            told["probes"] = judge_probes(self)
        if getattr(self.data, "normal", None) is not None:
            told["anomaly"] = self.anomalies.judge(predictions)
        return told

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Reconstructions side by side, a map of the latent space, a walk through it, and maps of errors."""
        from vesalius.figures import reconstruction as drawing

        rows, table = self.data.rows("test"), predictions["test"]
        chosen = np.unique(np.linspace(0, len(rows) - 1, _SHOWN).astype(np.int64))
        answer = next(self.batches(rows[torch.from_numpy(chosen)]))
        original, reconstruction = answer["original"].numpy(), answer["reconstruction"].numpy()
        captions = [f"{value:.1f} dB" for value in table["psnr"].iloc[chosen]]
        components = self._by_components(answer["original"]).numpy() if self.has_training_images else None
        drawn = {"reconstructions": drawing.reconstructions_figure(original, reconstruction, components, captions)}
        spread = rows[:: max(1, -(-len(rows) // _MAPPED))]
        latent = np.concatenate([batch["latent"].numpy() for batch in self.batches(spread)])
        drawn["latent_map"] = drawing.latent_map_figure(latent, self.names(spread))
        drawn["walk"] = self._walk(latent, spread)
        if "anomaly" in metrics and (maps := self.anomalies.figure()) is not None:
            drawn["error_maps"] = maps
        return drawn

    @cached_property
    def anomalies(self) -> Anomalies:
        """Scores of what the model has not learned."""
        return Anomalies(self)

    @property
    def has_training_images(self) -> bool:
        """Whether the data are those of the run, so that cheap methods can be fitted."""
        return len(self.data.rows("train")) > 0

    @cached_property
    def components(self) -> PrincipalComponents:
        """Principal components of the training images."""
        return PrincipalComponents.fit(self.originals("train"), self.model.net.latent_dim, seed=self.config["seed"])

    @cached_property
    def no_skill(self) -> dict[str, float | None]:
        """Errors of the mean training image on test images; unknown on other data than the run's."""
        if not self.has_training_images:
            return dict.fromkeys(RECONSTRUCTION_METRICS)
        mean = self.originals("train").mean(axis=0)
        return dict(mean_image_errors(mean, self.originals("test")))

    def originals(self, split: Split) -> NDArray[np.float32]:
        """Images of a split as the model draws them, (N, C, H, W) in 0..1; of many, some that are evenly spread."""
        most = min(MAX_TRAIN, max(1, _MAX_VALUES // math.prod(self.data.store.shape)))
        rows = self.data.spread_rows(split, most)
        return np.concatenate([batch["original"].numpy() for batch in self.batches(rows)])

    def table(self, rows: Tensor) -> pd.DataFrame:
        """Who is in some rows: `sample_id`, `group_id` and targets where there are any."""
        kept = self.data.table.iloc[rows.tolist()]
        return kept[["sample_id", "group_id", *target_columns(kept)]].reset_index(drop=True)

    def _judged(self, rows: Tensor, answer: Callable[[dict[str, Tensor]], Tensor]) -> pd.DataFrame:
        """Errors of what `answer` draws, image by image."""
        parts = [image_errors(batch["original"], answer(batch)) for batch in self.batches(rows)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in RECONSTRUCTION_METRICS}
        return self.table(rows).assign(**columns)

    def _by_components(self, original: Tensor) -> Tensor:
        drawn = self.components.reconstruct(self.components.project(original.numpy()))
        return torch.from_numpy(drawn).to(torch.float32).clamp(0, 1)

    def names(self, rows: Tensor) -> list[str] | None:
        """The class of each row, where each has one."""
        if not self.data.source.classes or "target" not in self.data.table:
            return None
        return [self.data.source.classes[int(label)] for label in self.data.table["target"].iloc[rows.tolist()]]

    def _walk(self, latent: NDArray[np.float32], rows: Tensor) -> "Figure":
        """Decoded steps between two test images whose codes lie far from each other."""
        from vesalius.figures.reconstruction import walk_figure

        centred = latent - latent.mean(axis=0)
        first = int((centred**2).sum(axis=1).argmax())
        last = int(((latent - latent[first]) ** 2).sum(axis=1).argmax())
        parts = torch.linspace(0, 1, _STEPS)[:, None]
        ends = torch.from_numpy(latent[[first, last]]).to(self.device)
        with torch.inference_mode():
            steps = self.model.decode(torch.lerp(ends[:1], ends[1:], parts.to(self.device))).cpu().numpy()
        names = self.names(rows)
        said = ("one patient", "another") if names is None else (names[first], names[last])
        return walk_figure(steps, *said)
