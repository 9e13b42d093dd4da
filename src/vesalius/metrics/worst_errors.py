"""The samples on which a model errs most."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.metrics.predictions import Decision, Predictions, read_predictions


def find_worst_errors(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    decision: Decision = "argmax",
    most: int = 16,
    name: str = "predictions",
) -> pd.DataFrame:
    """Truth and prediction of the worst errors, worst first; the index is their rows in the table.

    Args:
        predictions: of classes, continuous targets or reconstructions; of anything else the result is empty.
        task: how classes relate to a sample.
        classes: names of the classes or continuous targets.
        decision: as the metrics used it.
        most: number of errors.
        name: of the table in messages.

    Returns:
        Of classes, only wrong predictions: `true`, `predicted` and `probability` of the truth (for multilabel, that of
        the least probable label). Of continuous targets, by the largest error in standard deviations of the truth:
        `<name>` and `<name> predicted` each. Of reconstructions: `psnr`, `ssim`, `mse`. No sample or patient is named.
    """
    if "mse" in predictions:
        order = predictions["mse"].to_numpy().argsort(kind="stable")[::-1][:most]
        return predictions.reset_index(drop=True).loc[order, ["psnr", "ssim", "mse"]]
    if predictions.columns.str.startswith("pred/").any():
        return _worst_values(predictions, classes, most)
    if not predictions.columns.str.startswith("prob/").any():
        return pd.DataFrame()
    p = read_predictions(predictions, task=task, classes=classes, decision=decision, name=name)
    return _worst_classes(p, most)


def _worst_classes(p: Predictions, most: int) -> pd.DataFrame:
    probability = np.where(p.truth, p.probabilities, 1 - p.probabilities)
    of_truth = probability[p.truth] if p.single_label else probability.min(axis=1)
    wrong = np.flatnonzero((p.truth != p.decided).any(axis=1))
    rows = wrong[np.argsort(of_truth[wrong], kind="stable")][:most]
    columns = {
        "true": [_join_names(p.classes, row) for row in p.truth[rows]],
        "predicted": [_join_names(p.classes, row) for row in p.decided[rows]],
        "probability": of_truth[rows],
    }
    return pd.DataFrame(columns, index=rows)


def _join_names(classes: Sequence[str], member: Sequence[bool]) -> str:
    return ", ".join(name for name, is_member in zip(classes, member, strict=True) if is_member) or "none"


def _worst_values(predictions: pd.DataFrame, names: Sequence[str], most: int) -> pd.DataFrame:
    true = predictions[[f"target/{name}" for name in names]].to_numpy(dtype=np.float64)
    predicted = predictions[[f"pred/{name}" for name in names]].to_numpy(dtype=np.float64)
    spread = true.std(axis=0)
    error = np.abs(predicted - true) / np.where(spread > 0, spread, 1.0)
    rows = np.argsort(-error.max(axis=1), kind="stable")[:most]
    columns: dict[str, NDArray[np.float64]] = {}
    for k, name in enumerate(names):
        columns |= {name: true[rows, k], f"{name} predicted": predicted[rows, k]}
    return pd.DataFrame(columns, index=rows)
