"""Results of GANs: how near made images come to real ones, beside cheap ways to make images.

`metrics.json` has, besides `val` and `test` (`frechet_distance`, `kid`, `manifold_precision`, `manifold_recall`,
`density`, `coverage`, of as many made as real images, class for class):

* `extractor`: `name`, `layer`, `hash` and `dim` of the features that all of these are computed in.
* `baselines`: the same metrics on the test split of `real` training images, which no generator can beat but by chance;
  of `augmented` ones, shifted, turned and scaled a little; and of `pca_gaussian`, normal draws among as many principal
  components as do best on validation.
* `two_sample`: how well a linear classifier tells made from real test images.
* `memorisation`: whether made images lie nearer to training images than test images do, and whether a training image is
  the nearest to them more often than it is to validation images; see `vesalius.metrics.synthesis.memorisation`.
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
from vesalius.evaluation.base import SCHEMA, Metrics, Results, Start
from vesalius.evaluation.feature_extractors import Extractor, load_extractor
from vesalius.metrics.baselines.gaussian_sampler import GaussianSampler, best_gaussian_sampler
from vesalius.metrics.baselines.principal_components import MAX_TRAIN
from vesalius.metrics.entry import missing_entry
from vesalius.metrics.names import SYNTHESIS_METRICS
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

#: Of different noise for each split, so that what is picked on validation is not judged by the same images. Far from
#: the numbers of batches, by which a model draws when it is validated; below 2**32, of which torch looks at no more.
_SEEDS: dict[Split, int] = {"train": 2**31, "val": 2**31 + 1, "test": 2**31 + 2}
_BATCH = 256
_TOO_FEW = "a class has fewer training than test images, and distances of fewer images cannot be compared"
_SHOWN = 8
_FEW = 128  # images of a class, of which none are left out to save time
_AUGMENT = Augment({"rotation": Rotation(5), "zoom": Zoom(0.05), "translation": Translation(0.05)})


class SynthesisResults(Results):
    """Made images beside real ones of the same classes."""

    model: GAN

    def predictions(self, split: Split) -> pd.DataFrame:
        """Of each real image: whether made ones reach it (`recalled`, `covered`)."""
        rows = self.data.rows(split)
        found = manifold(self.real(split), self.made(split))
        kept = self.data.table.iloc[rows.tolist()]
        table = kept[["sample_id", "group_id", *target_columns(kept)]].reset_index(drop=True)
        return table.assign(recalled=found.recalled.astype(int), covered=found.covered.astype(int))

    def judge(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Distances of made from real images, split by split."""
        told: Metrics = {"schema": SCHEMA, "task": "synthesis", "extractor": self.extractor.told}
        for split in ("val", "test"):
            if split in predictions:
                told[split] = self._beside(split, self.made(split))
        return told

    def judge_table(self, table: pd.DataFrame, metrics: Metrics) -> Metrics:
        """Distances of made images from some of the test images, whose classes they share."""
        rows = self.data.rows("test")
        known = self.data.table["sample_id"].iloc[rows.tolist()].astype(str)
        kept = np.flatnonzero(known.isin(table["sample_id"].astype(str)))
        floors = {name: entry["no_skill"] for name, entry in metrics["test"].items()}
        real, made = self.real("test")[kept], self.made("test")[kept]
        groups = self._groups(rows)[kept]
        return synthesis_metrics(real, groups, made, no_skill=floors, seed=self.config["seed"])

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> Metrics:
        """Training images as they are and augmented, and normal draws among principal components."""
        told: Metrics = {}
        rows = self._training_like(self.labels("test"))
        if rows is None:
            logger.warning("No floor: %s", _TOO_FEW)
            told["real"], told["augmented"] = self._without_floor(), self._without_floor()
        else:
            images, patients = self._images(rows), self._groups(rows)
            told["real"] = self._beside("test", self.extractor(images), patients)
            augmented = _AUGMENT(images.clone(), rows, seed=self.config["seed"], epoch=0).clamp(0, 1)
            told["augmented"] = self._beside("test", self.extractor(augmented), patients)
        sampler = self.gaussian
        told["pca_gaussian"] = self._beside("test", self._drawn(sampler, "test"))
        for entry in told["pca_gaussian"].values():
            entry["components"] = sampler.count
        return told

    def evidence(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """Whether a linear classifier tells made images from real ones, and whether any were copied."""
        told: Metrics = {
            "two_sample": two_sample_test(
                self.real("test"), self._groups(self.data.rows("test")), self.made("test"), seed=self.config["seed"]
            )
        }
        if self.has_training_images:
            told["memorisation"] = self.copies.entry
        return told

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Made images of each class beside real ones, and the made images that lie nearest to training images."""
        from vesalius.figures import synthesis as drawing

        images, names = fixed_samples(self.model)
        drawn = {"samples": drawing.samples_figure(images.numpy(), names)}
        numbers = [0] * len(images) if names is None else [self.model.classes.index(name) for name in names]
        rows = self._training_like(torch.tensor(numbers))
        if rows is not None:
            drawn["real_samples"] = drawing.samples_figure(self._images(rows).numpy(), names)
        if "memorisation" in metrics:
            drawn["nearest_training_images"] = self._pairs()
        return drawn

    @cached_property
    def extractor(self) -> Extractor:
        """What images are compared in."""
        return load_extractor(self.config["evaluation"]["extractor"], self.facts, self.device)

    @property
    def has_training_images(self) -> bool:
        """Whether the data are those of the run, so that cheap methods can be fitted."""
        return len(self.data.rows("train")) > 0

    def labels(self, split: Split) -> Tensor:
        """The class of each real image, (N,) int64; zeros where the generator is not told of any."""
        return self._classes_of(self.data.rows(split))

    def _classes_of(self, rows: Tensor) -> Tensor:
        return self.data.targets[rows] if self.model.classes else torch.zeros(len(rows), dtype=torch.int64)

    def real(self, split: Split) -> Floats:
        """Features (N, F) of the real images of a split."""
        return self._features(split)[0]

    def made(self, split: Split) -> Floats:
        """Features (N, F) of as many made images, of the same classes."""
        return self._features(split)[1]

    def _features(self, split: Split) -> tuple[Floats, Floats]:
        if split not in self._kept:
            made = self.extractor(self.sample(self.labels(split), _SEEDS[split]))
            self._kept[split] = self.extractor(self._images(self.data.rows(split))), made
        return self._kept[split]

    @cached_property
    def _kept(self) -> dict[Split, tuple[Floats, Floats]]:
        return {}

    def sample(self, labels: Tensor, seed: int) -> Tensor:
        """Made images (N, C, H, W) in 0..1 of some classes, in steps of the stored type, as a file would have them."""
        model, generator = self.model.to(self.device).eval(), torch.Generator().manual_seed(seed)
        parts = [model.sample(part, generator).cpu() for part in torch.split(labels, _BATCH)]
        images = torch.cat(parts)
        steps = self.facts.value_max
        return (images * steps).round() / steps if steps > 1 else images

    def _images(self, rows: Tensor) -> Tensor:
        """Real images (N, C, H, W) in 0..1, as the generator learned them."""
        with torch.inference_mode():
            prepare = self.model.preprocess.cpu()
            parts = [prepare.restore(prepare(self.data.store[part])) for part in torch.split(rows, _BATCH)]
        self.model.to(self.device)
        return torch.cat(parts).clamp(0, 1)

    def _groups(self, rows: Tensor) -> NDArray[Any]:
        return self.data.table["group_id"].iloc[rows.tolist()].astype(str).to_numpy()

    def _beside(self, split: Split, features: Floats, patients: NDArray[Any] | None = None) -> Metrics:
        """Distances of some images' features from those of a split; with the patients of those that are real."""
        return synthesis_metrics(
            self.real(split),
            self._groups(self.data.rows(split)),
            features,
            no_skill=self._floors(split),
            synthetic_groups=patients,
            seed=self.config["seed"],
        )

    def _without_floor(self) -> Metrics:
        """What stands where there are no training images to compare."""
        rows = self.data.rows("test")
        missing = partial(missing_entry, _TOO_FEW, n=len(rows), groups=len(np.unique(self._groups(rows))))
        floors = self._floors("test").items()
        return {name: missing(no_skill=floor) | {"synthetic": 0} for name, floor in floors}

    def _floors(self, split: Split) -> dict[str, float | None]:
        """What images without any skill reach: noise about the mean training image."""
        if not self.has_training_images:
            return dict.fromkeys(SYNTHESIS_METRICS)
        if split not in self._floors_kept:
            images, generator = self._training_images, torch.Generator().manual_seed(0)
            count = len(self.data.rows(split))
            noise = torch.randn(count, *images.shape[1:], generator=generator)
            drawn = (images.mean(0) + images.std(0) * noise).clamp(0, 1)
            self._floors_kept[split] = synthesis_values(self.real(split), self.extractor(drawn))
        return dict(self._floors_kept[split])

    @cached_property
    def _floors_kept(self) -> dict[Split, dict[str, float]]:
        return {}

    @cached_property
    def _training_images(self) -> Tensor:
        return self._images(self.data.spread_rows("train", MAX_TRAIN))

    def _training_like(self, labels: Tensor) -> Tensor | None:
        """Rows of as many training images as there are labels, of the same classes, none twice; None where too few."""
        rows, generator = self.data.rows("train"), np.random.default_rng(self.config["seed"])
        own = self._classes_of(rows)
        chosen = torch.empty(len(labels), dtype=torch.int64)
        for label in torch.unique(labels):
            place, pool = labels == label, rows[own == label].numpy()
            if len(pool) < int(place.sum()):
                return None
            chosen[place] = torch.from_numpy(generator.permutation(pool)[: int(place.sum())])
        return chosen

    @cached_property
    def gaussian(self) -> GaussianSampler:
        """Normal draws in the space of principal components, of as many as do best on validation."""
        rows = self._fitted_rows()
        labels = self._classes_of(rows).numpy() if self.model.classes else None

        def score(sampler: GaussianSampler) -> float:
            return synthesis_values(self.real("val"), self._drawn(sampler, "val"))["frechet_distance"]

        return best_gaussian_sampler(self._images(rows).numpy(), labels, score, seed=self.config["seed"])

    def _fitted_rows(self) -> Tensor:
        """About `MAX_TRAIN` rows of training, evenly spread over each class, so that rare ones keep their images."""
        rows = self.data.rows("train")
        own, step = self._classes_of(rows), -(-len(rows) // MAX_TRAIN)
        of_each = [rows[own == label] for label in torch.unique(own)]
        return torch.cat([part[:: max(1, min(step, len(part) // _FEW))] for part in of_each]).sort().values

    def _drawn(self, sampler: GaussianSampler, split: Split) -> Floats:
        images = sampler.sample(self.labels(split).numpy(), np.random.default_rng(_SEEDS[split]))
        return self.extractor(torch.from_numpy(images))

    @cached_property
    def copies(self) -> Memorisation:
        """Distances to training images, in the features of the extractor."""
        rows, held_out = self.data.rows("train"), self._groups(self.data.rows("test"))
        parts = torch.split(rows, MAX_TRAIN)  # all: a copy of any of them is a copy
        train = np.concatenate([self.extractor(self._images(part)) for part in parts])
        control = self.real("val"), self._groups(self.data.rows("val"))
        known = train, self._groups(rows), self.real("test"), held_out
        return memorisation(*known, self.made("test"), control=control)

    def _pairs(self) -> "Figure":
        """The made images that lie nearest to training images, beside those."""
        from vesalius.figures.synthesis import pairs_figure

        closest = np.argsort(self.copies.distance)[:_SHOWN]
        made = self.sample(self.labels("test"), _SEEDS["test"])[torch.from_numpy(closest)]
        rows = self.data.rows("train")[torch.from_numpy(self.copies.nearest[closest])]
        captions = [f"{apart:.2f}" for apart in self.copies.distance[closest]]
        return pairs_figure(made.numpy(), self._images(rows).numpy(), captions)
