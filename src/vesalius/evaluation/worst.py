"""The samples that a model does worst on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.evaluation.predictions import Decision, Predictions, read_predictions


def worst_answers(
    predictions: pd.DataFrame, facts: Facts, *, decision: Decision = "argmax", most: int = 16
) -> pd.DataFrame:
    """What is wrong with the worst answers, worst first; the index says in which rows of the table they stand.

    Args:
        predictions: of classes, quantities or reconstructions; of anything else nothing is told.
        facts: of the data.
        decision: as the metrics used it.
        most: rows to tell of.

    Returns:
        Of classes: `true`, `predicted` and `probability` (of the truth; of several labels, the least), wrong answers
        alone. Of quantities: `<name>` and `<name> predicted` each, by the largest error in standard deviations. Of
        reconstructions: `psnr`, `ssim`, `mse`. It names no sample and no patient.
    """
    if "mse" in predictions:
        order = predictions["mse"].to_numpy().argsort(kind="stable")[::-1][:most]
        return predictions.reset_index(drop=True).loc[order, ["psnr", "ssim", "mse"]]
    if predictions.columns.str.startswith("pred/").any():
        return _worst_quantities(predictions, facts, most)
    if not predictions.columns.str.startswith("prob/").any():
        return pd.DataFrame()
    p = read_predictions(predictions, task=facts.task, classes=facts.classes, decision=decision)
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


def _worst_quantities(predictions: pd.DataFrame, facts: Facts, most: int) -> pd.DataFrame:
    true = predictions[[f"target/{name}" for name in facts.classes]].to_numpy(dtype=np.float64)
    said = predictions[[f"pred/{name}" for name in facts.classes]].to_numpy(dtype=np.float64)
    error = np.abs(said - true) / np.asarray(facts.target_std or 1.0)
    rows = np.argsort(-error.max(axis=1), kind="stable")[:most]
    told: dict[str, NDArray[np.float64]] = {}
    for k, name in enumerate(facts.classes):
        told |= {name: true[rows, k], f"{name} predicted": said[rows, k]}
    return pd.DataFrame(told, index=rows)
