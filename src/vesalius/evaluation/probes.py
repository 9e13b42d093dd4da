"""What the features of an autoencoder are worth for labels, beside cheap features."""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.build import build
from vesalius.data.splits.subset import train_subset
from vesalius.evaluation.base import Metrics
from vesalius.metrics.baselines.linear_models import pool
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.probes import probe
from vesalius.models.single_loss import SingleLossModule

if TYPE_CHECKING:
    from vesalius.evaluation.reconstruction import ReconstructionResults

logger = logging.getLogger("vesalius")

#: Parts of the training patients whose labels are used, and how many draws of each.
FRACTIONS = {0.01: 5, 0.05: 5, 0.1: 5, 1.0: 1}
SHOWN = ("auroc", "accuracy")
MAX_PROBED = 5_000

Triple = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def judge_probes(results: "ReconstructionResults") -> Metrics:
    """Logistic regressions and nearest neighbours on features, fitted on training labels and judged on the test split.

    Penalties and numbers of neighbours are picked on validation. Parts of the labels are drawn by patient and nested;
    numbers are means over the draws.
    """
    data = results.data
    task, classes = data.source.task, tuple(data.source.classes)
    if task in ("unlabelled", "regression"):
        logger.info("No probes: the samples have no classes.")
        return {}
    rows = [data.spread_rows("train", MAX_PROBED), data.rows("val"), data.rows("test")]
    targets = [data.targets[part].numpy() for part in rows[:2]]
    if len(np.unique(targets[0], axis=0)) < 2:
        logger.info("No probes: training has one class alone.")
        return {}
    arms = features(results, rows)
    answers = probe(
        arms, (targets[0], targets[1]), draws(results, rows[0]), task=task, classes=classes, seed=results.config["seed"]
    )
    test = results.table(rows[2])
    columns = [f"prob/{name}" for name in classes]
    tables = {
        arm: {
            fraction: [test.assign(**dict(zip(columns, answer.T, strict=True))) for answer in drawn]
            for fraction, drawn in by_fraction.items()
        }
        for arm, by_fraction in answers.items()
    }
    told: Metrics = {}
    for fraction in FRACTIONS:
        told[f"{fraction:.0%}"] = {
            arm.replace("/", "_"): _judged(by_fraction[fraction], tables, arm, fraction, task, classes)
            for arm, by_fraction in tables.items()
        }
    return told


def _judged(
    answers: list[pd.DataFrame],
    tables: dict[str, dict[float, list[pd.DataFrame]]],
    arm: str,
    fraction: float,
    task: str,
    classes: tuple[str, ...],
) -> Metrics:
    """Metrics of an arm, and the difference of the same classifier on latent features from it."""
    kind = {"task": task, "classes": classes}
    told = {name: repeated_metric(answers, metric=name, **kind) for name in SHOWN}  # type: ignore[arg-type]
    features, _, classifier = arm.partition("/")
    if features != "latent":
        latent = tables[f"latent/{classifier}"][fraction]
        told["auroc_difference"] = repeated_difference(latent, answers, metric="auroc", **kind)  # type: ignore[arg-type]
    return told


def features(results: "ReconstructionResults", rows: list[Tensor]) -> dict[str, Triple]:
    """What probes are given: codes, principal components, codes of an encoder that never learned, and pixels."""
    kinds: dict[str, list[NDArray[Any]]] = {"latent": [], "pca": [], "random": [], "pixels": []}
    untrained = random_encoder(results)
    for part in rows:
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
        for batch in results.batches(part):
            original = batch["original"].numpy()
            found["latent"].append(batch["latent"].numpy())
            found["pca"].append(results.components.project(original))
            found["pixels"].append(pool(original))
            with torch.inference_mode():
                stored = {"image": results.data.store[batch["index"]].to(results.device)}
                found["random"].append(untrained.embed(stored).cpu().numpy())
        for name, values in found.items():
            kinds[name].append(np.concatenate(values).astype(np.float64))
    return {name: (values[0], values[1], values[2]) for name, values in kinds.items()}


def random_encoder(results: "ReconstructionResults") -> SingleLossModule:
    """The same encoder with the random weights that it would begin with, were there no data."""
    pl.seed_everything(results.config["seed"], workers=True, verbose=False)
    model: SingleLossModule = build(results.config["model"], "model", facts=results.facts)
    return model.to(results.device).eval()


def draws(results: "ReconstructionResults", train: Tensor) -> dict[float, list[NDArray[np.int64]]]:
    """Positions within the training rows of each draw of each part of the labels; smaller parts lie in larger ones."""
    table = results.data.table.iloc[train.tolist()].reset_index(drop=True)
    task = results.data.source.task
    return {
        fraction: [
            np.flatnonzero((train_subset(table, fraction, seed=seed, task=task)["split"] == "train").to_numpy())
            for seed in range(count)
        ]
        for fraction, count in FRACTIONS.items()
    }
