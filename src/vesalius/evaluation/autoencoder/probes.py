"""What the features of an autoencoder are worth for labels, compared to cheap features."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.build import build
from vesalius.data.splits.subset import train_subset
from vesalius.evaluation.autoencoder.outputs import AutoencoderOutputs
from vesalius.evaluation.base import Entries
from vesalius.evaluation.scoring import decide, picks_threshold
from vesalius.metrics.baselines.linear_models import Floats, pool
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.probes import probe
from vesalius.models.single_loss import SingleLossModule

logger = logging.getLogger("vesalius")

#: Parts of the training patients whose labels are used, and how many draws of each.
FRACTIONS = {0.01: 5, 0.05: 5, 0.1: 5, 1.0: 1}
SHOWN = ("auroc", "accuracy")
MAX_PROBED = 5_000

#: Features of training, validation and test samples.
Features = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
#: Test predictions by part of the labels, one table per draw.
Tables = dict[float, list[pd.DataFrame]]


def score_probes(outputs: AutoencoderOutputs) -> dict[str, dict[str, Entries]]:
    """Test metrics of logistic regressions and nearest neighbours on features, fitted on training labels.

    Penalties, numbers of neighbours and, by `evaluation.decision`, thresholds are chosen on validation. Parts of the
    labels are drawn by patient and nested; numbers are means over the draws.
    """
    data = outputs.data
    task, classes = data.source.task, tuple(data.source.classes)
    if task in ("unlabelled", "regression"):
        logger.info("No probes: the samples have no classes.")
        return {}
    rule, val = outputs.config["evaluation"]["decision"], data.rows("val")
    decides = val if picks_threshold(outputs.facts, rule) else val[:0]
    rows = [data.spread_rows("train", MAX_PROBED), val, torch.cat([decides, data.rows("test")])]
    targets = [data.targets[part].numpy() for part in rows[:2]]
    if len(np.unique(targets[0], axis=0)) < 2:
        logger.info("No probes: training has only one class.")
        return {}
    arms = compute_features(outputs, rows)
    draws = draw_labels(outputs, rows[0])
    predicted = probe(arms, (targets[0], targets[1]), draws, task=task, classes=classes, seed=outputs.config["seed"])
    table = outputs.table(rows[2])
    columns = [f"prob/{name}" for name in classes]

    def decided(probabilities: Floats) -> pd.DataFrame:
        whole = table.assign(**dict(zip(columns, probabilities.T, strict=True)))
        return decide(whole, len(decides), outputs.facts, rule)

    tables: dict[str, Tables] = {
        arm: {fraction: [decided(one) for one in of_draws] for fraction, of_draws in by_fraction.items()}
        for arm, by_fraction in predicted.items()
    }
    return {
        f"{fraction:.0%}": {arm.replace("/", "_"): _score_arm(tables, arm, fraction, task, classes) for arm in tables}
        for fraction in FRACTIONS
    }


def _score_arm(tables: dict[str, Tables], arm: str, fraction: float, task: str, classes: tuple[str, ...]) -> Entries:
    """Metrics of an arm, and how much better the same classifier is on latent features."""
    kind = {"task": task, "classes": classes}
    of_draws = tables[arm][fraction]
    metrics = {name: repeated_metric(of_draws, metric=name, **kind) for name in SHOWN}  # type: ignore[arg-type]
    features, _, classifier = arm.partition("/")
    if features != "latent":
        latent = tables[f"latent/{classifier}"][fraction]
        metrics["auroc_difference"] = repeated_difference(latent, of_draws, metric="auroc", **kind)  # type: ignore[arg-type]
    return metrics


def compute_features(outputs: AutoencoderOutputs, rows: list[Tensor]) -> dict[str, Features]:
    """Features to probe: codes, principal components, codes of an untrained encoder, and pixels."""
    kinds: dict[str, list[NDArray[Any]]] = {"latent": [], "pca": [], "random": [], "pixels": []}
    untrained = random_encoder(outputs)
    for part in rows:
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
        for batch in outputs.batches(part):
            original = batch["original"].numpy()
            found["latent"].append(batch["latent"].numpy())
            found["pca"].append(outputs.components.project(original))
            found["pixels"].append(pool(original))
            with torch.inference_mode():
                stored = {"image": outputs.data.store[batch["index"]].to(outputs.device)}
                found["random"].append(untrained.embed(stored).cpu().numpy())
        for name, values in found.items():
            kinds[name].append(np.concatenate(values).astype(np.float64))
    return {name: (values[0], values[1], values[2]) for name, values in kinds.items()}


def random_encoder(outputs: AutoencoderOutputs) -> SingleLossModule:
    """The same encoder with the random weights of a new model, without a start from data."""
    pl.seed_everything(outputs.config["seed"], workers=True, verbose=False)
    model: SingleLossModule = build(outputs.config["model"], "model", facts=outputs.facts)
    return model.to(outputs.device).eval()


def draw_labels(outputs: AutoencoderOutputs, train: Tensor) -> dict[float, list[NDArray[np.int64]]]:
    """For each part of the labels, the positions within the training rows of each draw; smaller parts are nested."""
    table = outputs.data.table.iloc[train.tolist()].reset_index(drop=True)
    task = outputs.data.source.task
    return {
        fraction: [
            np.flatnonzero((train_subset(table, fraction, seed=seed, task=task)["split"] == "train").to_numpy())
            for seed in range(count)
        ]
        for fraction, count in FRACTIONS.items()
    }
