"""Results of GANs: how close synthetic images come to real ones, compared to cheap ways to get images.

`metrics.json` has, besides `val` and `test` (`frechet_distance`, `kid`, `manifold_precision`, `manifold_recall`,
`density`, `coverage`, of as many synthetic as real images, class for class):

* `extractor`: `name`, `layer`, `hash` and `dim` of the features that all of these are computed in.
* `baselines`: the same metrics on the test split of `real` training images, which a generator can beat only by chance;
  of `augmented` ones, slightly shifted, rotated and scaled; and of `pca_gaussian`, normal draws among as many principal
  components as do best on validation.
* `two_sample`: how well a linear classifier separates synthetic from real test images.
* `memorisation`: whether synthetic images are closer to training images than test images are, and whether a training
  image is the nearest to them more often than it is to validation images; see `vesalius.metrics.memorisation`.
"""

import logging
from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.augment import Augment, Rotation, Translation, Zoom
from vesalius.data.samples import Split, target_columns
from vesalius.evaluation.base import SCHEMA, Entries, Metrics, Results, Start
from vesalius.evaluation.feature_extractors import Extractor, load_extractor
from vesalius.metrics.baselines.gaussian_sampler import GaussianSampler, best_gaussian_sampler
from vesalius.metrics.baselines.principal_components import MAX_TRAIN
from vesalius.metrics.entry import missing_entry
from vesalius.metrics.names import SYNTHESIS_METRICS
from vesalius.metrics.synthesis.frechet import frechet_distance
from vesalius.metrics.synthesis.manifold import manifold
from vesalius.metrics.synthesis.memorisation import Memorisation, memorisation
from vesalius.metrics.synthesis.metrics import synthesis_metrics, synthesis_values
from vesalius.metrics.synthesis.two_sample import two_sample_test
from vesalius.models.gan.gan import GAN
from vesalius.training.sample_grids import fixed_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

Floats = NDArray[np.float64]

#: Different noise for each split, so that what is chosen on validation is not evaluated with the same images. Far from
#: the numbers of batches, which seed a model's noise in validation; below 2**32, since torch ignores higher bits.
_SEEDS: dict[Split, int] = {"train": 2**31, "val": 2**31 + 1, "test": 2**31 + 2}
_BATCH = 256
_TOO_FEW = "a class has fewer training than test images, and distances of fewer images cannot be compared"
_SHOWN = 8
_FEW = 128  # a class of fewer images keeps all of them
_AUGMENT = Augment({"rotation": Rotation(5), "zoom": Zoom(0.05), "translation": Translation(0.05)})


class SynthesisResults(Results):
    """Synthetic images compared to real ones of the same classes."""

    model: GAN

    def predictions(self, split: Split) -> pd.DataFrame:
        """Of each real image: whether synthetic ones reach it (`recalled`, `covered`)."""
        rows = self.data.rows(split)
        synthetic = self.synthetic(split)
        found = manifold(self.real(split), self._groups(rows), synthetic, np.arange(len(synthetic)))
        kept = self.data.table.iloc[rows.tolist()]
        table = kept[["sample_id", "group_id", *target_columns(kept)]].reset_index(drop=True)
        return table.assign(recalled=found.recalled.astype(int), covered=found.covered.astype(int))

    def score(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Distances of synthetic from real images, split by split."""
        metrics: Metrics = {"schema": SCHEMA, "task": "synthesis", "extractor": self.extractor.to_dict()}
        for split in ("val", "test"):
            if split in predictions:
                metrics[split] = self._compare(split, self.synthetic(split))
        return metrics

    def rescore(
        self, predictions: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame], metrics: Metrics
    ) -> Metrics:
        """The share of real images that are reached; what else there is needs the images."""
        columns = {"manifold_recall": "recalled", "coverage": "covered"}
        return {
            split: {
                name: {"value": float(table[column].mean())}
                for name, column in columns.items()
                if (metrics[split].get(name) or {}).get("value") is not None
            }
            for split, table in predictions.items()
        }

    def score_table(self, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Distances of synthetic images from some of the test images, whose classes they share."""
        rows = self.data.rows("test")
        known = self.data.table["sample_id"].iloc[rows.tolist()].astype(str)
        kept = np.flatnonzero(known.isin(table["sample_id"].astype(str)))
        no_skill = {name: entry["no_skill"] for name, entry in metrics["test"].items()}
        real, synthetic = self.real("test")[kept], self.synthetic("test")[kept]
        groups = self._groups(rows)[kept]
        return synthesis_metrics(real, groups, synthetic, no_skill=no_skill, seed=self.config["seed"])

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> dict[str, Entries]:
        """Training images as they are and augmented, and normal draws among principal components."""
        arms: dict[str, Entries] = {}
        rows = self.matching_training_rows(self.labels("test"))
        if rows is None:
            logger.warning("No baselines real and augmented: %s.", _TOO_FEW)
            arms["real"], arms["augmented"] = self._missing(), self._missing()
        else:
            images, patients = self.images(rows), self._groups(rows)
            arms["real"] = self._compare("test", self.extractor(images), patients)
            augmented = _AUGMENT(images.clone(), rows, seed=self.config["seed"], epoch=0).clamp(0, 1)
            arms["augmented"] = self._compare("test", self.extractor(augmented), patients)
        sampler = self.gaussian
        arms["pca_gaussian"] = self._compare("test", self._gaussian_features(sampler, "test"))
        for entry in arms["pca_gaussian"].values():
            entry["components"] = sampler.count
        return arms

    def analyses(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """Whether a linear classifier separates synthetic from real images, and whether any were copied."""
        groups = self._groups(self.data.rows("test"))
        found: Metrics = {
            "two_sample": two_sample_test(self.real("test"), groups, self.synthetic("test"), seed=self.config["seed"])
        }
        if self.has_training_images:
            found["memorisation"] = self.memorisation.entry
        return found

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Synthetic images of each class, real ones, and the synthetic images that are nearest to training images."""
        from vesalius.figures import synthesis as drawing

        images, names = fixed_samples(self.model)
        figures = {"samples": drawing.samples_figure(images.numpy(), names)}
        numbers = [0] * len(images) if names is None else [self.model.classes.index(name) for name in names]
        rows = self.matching_training_rows(torch.tensor(numbers))
        if rows is not None:
            figures["real_samples"] = drawing.samples_figure(self.images(rows).numpy(), names)
        if "memorisation" in metrics:
            figures["nearest_training_images"] = self._nearest_pairs()
        return figures

    @cached_property
    def extractor(self) -> Extractor:
        """The features that images are compared in."""
        return load_extractor(self.config["evaluation"]["extractor"], self.facts, self.device)

    @property
    def has_training_images(self) -> bool:
        """Whether the data are those of the run, so that baselines can be fitted."""
        return len(self.data.rows("train")) > 0

    def labels(self, split: Split) -> Tensor:
        """The class of each real image, (N,) int64; zeros for an unconditional generator."""
        return self._class_labels(self.data.rows(split))

    def _class_labels(self, rows: Tensor) -> Tensor:
        return self.data.targets[rows] if self.model.classes else torch.zeros(len(rows), dtype=torch.int64)

    def real(self, split: Split) -> Floats:
        """Features (N, F) of the real images of a split."""
        return self._features(split)[0]

    def synthetic(self, split: Split) -> Floats:
        """Features (N, F) of as many synthetic images, of the same classes."""
        return self._features(split)[1]

    def _features(self, split: Split) -> tuple[Floats, Floats]:
        if split not in self._feature_cache:
            synthetic = self.extractor(self.sample(self.labels(split), _SEEDS[split]))
            self._feature_cache[split] = self.extractor(self.images(self.data.rows(split))), synthetic
        return self._feature_cache[split]

    @cached_property
    def _feature_cache(self) -> dict[Split, tuple[Floats, Floats]]:
        return {}

    def sample(self, labels: Tensor, seed: int) -> Tensor:
        """Synthetic images (N, C, H, W) in 0..1 of some classes, rounded to steps of the stored type, as in a file."""
        model, generator = self.model.to(self.device).eval(), torch.Generator().manual_seed(seed)
        parts = [model.sample(part, generator).cpu() for part in torch.split(labels, _BATCH)]
        images = torch.cat(parts)
        steps = self.facts.value_max
        return (images * steps).round() / steps if steps > 1 else images

    def images(self, rows: Tensor) -> Tensor:
        """Real images (N, C, H, W) in 0..1, prepared as for the generator."""
        with torch.inference_mode():
            prepare = self.model.preprocess.cpu()
            parts = [prepare.restore(prepare(self.data.store[part])) for part in torch.split(rows, _BATCH)]
        self.model.to(self.device)
        return torch.cat(parts).clamp(0, 1)

    def _groups(self, rows: Tensor) -> NDArray[Any]:
        return self.data.table["group_id"].iloc[rows.tolist()].astype(str).to_numpy()

    def _compare(self, split: Split, features: Floats, patients: NDArray[Any] | None = None) -> Entries:
        """Distances of features (M, F) from those of a split; with the patients (M,) of real images."""
        return synthesis_metrics(
            self.real(split),
            self._groups(self.data.rows(split)),
            features,
            no_skill=self._no_skill(split),
            synthetic_groups=patients,
            seed=self.config["seed"],
        )

    def _missing(self) -> Entries:
        """The entries of a baseline without enough training images."""
        rows = self.data.rows("test")
        missing = partial(missing_entry, _TOO_FEW, n=len(rows), groups=len(np.unique(self._groups(rows))))
        return {name: {**missing(no_skill=value), "synthetic": 0} for name, value in self._no_skill("test").items()}

    def _no_skill(self, split: Split) -> dict[str, float | None]:
        """Distances of noise about the mean training image; unknown on other data than the run's."""
        if not self.has_training_images:
            return dict.fromkeys(SYNTHESIS_METRICS)
        if split not in self._no_skill_cache:
            images, generator = self._training_images, torch.Generator().manual_seed(0)
            count = len(self.data.rows(split))
            noise = torch.randn(count, *images.shape[1:], generator=generator)
            noisy = (images.mean(0) + images.std(0) * noise).clamp(0, 1)
            groups = self._groups(self.data.rows(split))
            self._no_skill_cache[split] = synthesis_values(self.real(split), groups, self.extractor(noisy))
        return dict(self._no_skill_cache[split])

    @cached_property
    def _no_skill_cache(self) -> dict[Split, dict[str, float | None]]:
        return {}

    @cached_property
    def _training_images(self) -> Tensor:
        return self.images(self.data.spread_rows("train", MAX_TRAIN))

    def matching_training_rows(self, labels: Tensor) -> Tensor | None:
        """Rows (N,) of different training images of the classes `labels` (N,); None where a class has too few."""
        rows, generator = self.data.rows("train"), np.random.default_rng(self.config["seed"])
        own = self._class_labels(rows)
        chosen = torch.empty(len(labels), dtype=torch.int64)
        for label in torch.unique(labels):
            places, pool = labels == label, rows[own == label].numpy()
            if len(pool) < int(places.sum()):
                return None
            chosen[places] = torch.from_numpy(generator.permutation(pool)[: int(places.sum())])
        return chosen

    @cached_property
    def gaussian(self) -> GaussianSampler:
        """Normal draws among principal components, of as many as do best on validation."""
        rows = self._rows_to_fit()
        labels = self._class_labels(rows).numpy() if self.model.classes else None

        def score(sampler: GaussianSampler) -> float:
            return frechet_distance(self.real("val"), self._gaussian_features(sampler, "val"))

        return best_gaussian_sampler(self.images(rows).numpy(), labels, score, seed=self.config["seed"])

    def _rows_to_fit(self) -> Tensor:
        """About `MAX_TRAIN` rows of training, evenly spread over each class; of rare classes all."""
        rows = self.data.rows("train")
        own, step = self._class_labels(rows), -(-len(rows) // MAX_TRAIN)
        by_class = [rows[own == label] for label in torch.unique(own)]
        return torch.cat([part[:: max(1, min(step, len(part) // _FEW))] for part in by_class]).sort().values

    def _gaussian_features(self, sampler: GaussianSampler, split: Split) -> Floats:
        images = sampler.sample(self.labels(split).numpy(), np.random.default_rng(_SEEDS[split]))
        return self.extractor(torch.from_numpy(images))

    @cached_property
    def memorisation(self) -> Memorisation:
        """Distances of synthetic and of held-out images to training images, in the features of the extractor."""
        rows, held_out = self.data.rows("train"), self._groups(self.data.rows("test"))
        parts = torch.split(rows, MAX_TRAIN)  # all: a copy of any of them is a copy
        train = np.concatenate([self.extractor(self.images(part)) for part in parts])
        control = self.real("val"), self._groups(self.data.rows("val"))
        known = train, self._groups(rows), self.real("test"), held_out
        return memorisation(*known, self.synthetic("test"), control=control)

    def _nearest_pairs(self) -> "Figure":
        """The synthetic images that are nearest to training images, with those."""
        from vesalius.figures.synthesis import pairs_figure

        closest = np.argsort(self.memorisation.distance)[:_SHOWN]
        synthetic = self.sample(self.labels("test"), _SEEDS["test"])[torch.from_numpy(closest)]
        rows = self.data.rows("train")[torch.from_numpy(self.memorisation.nearest[closest])]
        captions = [f"{apart:.2f}" for apart in self.memorisation.distance[closest]]
        return pairs_figure(synthetic.numpy(), self.images(rows).numpy(), captions)
