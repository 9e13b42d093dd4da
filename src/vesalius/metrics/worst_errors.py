"""The samples that a model does worst on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.metrics.predictions import Decision, Predictions, read_predictions


def worst_answers(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    decision: Decision = "argmax",
    most: int = 16,
    name: str = "predictions",
) -> pd.DataFrame:
    """What is wrong with the worst answers, worst first; the index says in which rows of the table they stand.

    Args:
        predictions: of classes, quantities or reconstructions; of anything else nothing is told.
        task: what the classes are to each other.
        classes: names of the classes or quantities.
        decision: as the metrics used it.
        most: rows to tell of.
        name: what to call the table in messages.

    Returns:
        Of classes: `true`, `predicted` and `probability` (of the truth; of several labels, the least), wrong answers
        alone. Of quantities: `<name>` and `<name> predicted` each, by the largest error in standard deviations of the
        truth. Of reconstructions: `psnr`, `ssim`, `mse`. It names no sample and no patient.
    """
    if "mse" in predictions:
        order = predictions["mse"].to_numpy().argsort(kind="stable")[::-1][:most]
        return predictions.reset_index(drop=True).loc[order, ["psnr", "ssim", "mse"]]
    if predictions.columns.str.startswith("pred/").any():
        return _worst_quantities(predictions, classes, most)
    if not predictions.columns.str.startswith("prob/").any():
        return pd.DataFrame()
    p = read_predictions(predictions, task=task, classes=classes, decision=decision, name=name)
    return _worst_classes(p, most)


def _worst_classes(p: Predictions, most: int) -> pd.DataFrame:
    chance = np.where(p.truth, p.probabilities, 1 - p.probabilities)
    of_truth = chance[p.truth] if p.single_label else chance.min(axis=1)
    wrong = np.flatnonzero((p.truth != p.decided).any(axis=1))
    rows = wrong[np.argsort(of_truth[wrong], kind="stable")][:most]
    told = {
        "true": [_names(p.classes, row) for row in p.truth[rows]],
        "predicted": [_names(p.classes, row) for row in p.decided[rows]],
        "probability": of_truth[rows],
    }
    return pd.DataFrame(told, index=rows)


def _names(classes: Sequence[str], has: Sequence[bool]) -> str:
    return ", ".join(name for name, it_has in zip(classes, has, strict=True) if it_has) or "none"


def _worst_quantities(predictions: pd.DataFrame, names: Sequence[str], most: int) -> pd.DataFrame:
    true = predictions[[f"target/{name}" for name in names]].to_numpy(dtype=np.float64)
    said = predictions[[f"pred/{name}" for name in names]].to_numpy(dtype=np.float64)
    spread = true.std(axis=0)
    error = np.abs(said - true) / np.where(spread > 0, spread, 1.0)
    rows = np.argsort(-error.max(axis=1), kind="stable")[:most]
    told: dict[str, NDArray[np.float64]] = {}
    for k, name in enumerate(names):
        told |= {name: true[rows, k], f"{name} predicted": said[rows, k]}
    return pd.DataFrame(told, index=rows)
