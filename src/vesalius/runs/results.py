"""The final numbers of a classification run: from predictions to `metrics.json` and pictures."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.data.datamodule import ImageDataModule
from vesalius.evaluation.baselines import MAX_TRAIN, fit_baselines
from vesalius.evaluation.metrics import classification_metrics
from vesalius.evaluation.predictions import Decision, read_predictions
from vesalius.evaluation.thresholds import choose_threshold
from vesalius.runs.folder import HISTORY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

SCHEMA = 1
_GRID_IMAGES = 24

Metrics = dict[str, Any]


def judge(predictions: Mapping[str, pd.DataFrame], facts: Facts, evaluation: Mapping[str, Any]) -> Metrics:
    """Metrics of each predicted split; the decision threshold comes from validation alone.

    Args:
        predictions: the predictions table of `val` and `test`, or of `test` with a decision already made.
        facts: of the data that the model was trained on.
        evaluation: the config node; `decision` is a rule for validation, or a number that was picked before.
    """
    decision = evaluation["decision"]
    if facts.task == "binary" and isinstance(decision, str) and decision != "argmax":
        threshold: Decision = choose_threshold(predictions["val"], decision)
    else:
        threshold = decision
    metrics: Metrics = {
        "schema": SCHEMA,
        "task": facts.task,
        "decision": {"rule": str(decision), "threshold": threshold},
    }
    for split, table in predictions.items():
        metrics[split] = classification_metrics(table, task=facts.task, classes=facts.classes, decision=threshold)
    return metrics


def judge_baselines(data: ImageDataModule, test: pd.DataFrame, facts: Facts, seed: int) -> Metrics:
    """Cheap models, fitted on the training split and judged on the test split like the network."""
    train, val = data.rows("train"), data.rows("val")
    train = train[:: max(1, -(-len(train) // MAX_TRAIN))]  # before it is read: a streamed set must not fill the memory
    arms = fit_baselines(
        data.store[train].numpy(),
        data.targets[train].numpy(),
        data.store[val].numpy(),
        data.targets[val].numpy(),
        data.store[data.rows("test")].numpy(),
        task=facts.task,
        classes=facts.classes,
        seed=seed,
    )
    columns = [f"prob/{name}" for name in facts.classes]
    judged: Metrics = {}
    for arm, probabilities in arms.items():
        table = test.copy()
        if isinstance(probabilities, str):
            logger.warning("No baseline %s: %s.", arm, probabilities)
            continue
        table[columns] = probabilities
        judged[arm] = classification_metrics(table, task=facts.task, classes=facts.classes)
    return judged


def draw(
    metrics: Metrics, test: pd.DataFrame, data: ImageDataModule, facts: Facts, folder: Path
) -> dict[str, "Figure"]:
    """The pictures of a run: confusion matrix, ROC curves, calibration, learning curves, test images with errors."""
    from vesalius.evaluation import figures

    kind: dict[str, Any] = {"task": facts.task, "classes": facts.classes}
    decision = metrics["decision"]["threshold"]
    drawn = {
        "confusion_matrix": figures.confusion_matrix_figure(test, **kind, decision=decision),
        "roc": figures.roc_figure(test, **kind, metrics=metrics["test"]),
        "calibration": figures.reliability_figure(test, **kind, metrics=metrics["test"]),
        "test_images": grid_of_images(test, data, facts, decision),
    }
    if (folder / HISTORY).is_file():
        drawn["history"] = figures.history_figure(pd.read_csv(folder / HISTORY))
    return drawn


def grid_of_images(
    predictions: pd.DataFrame,
    data: ImageDataModule,
    facts: Facts,
    decision: Decision = "argmax",
    positions: NDArray[np.int64] | None = None,
) -> "Figure":
    """Test images with their true and predicted classes.

    Args:
        predictions: the table of the whole test split, in its own order.
        data: where the images are.
        facts: names of the classes.
        decision: as the metrics used it.
        positions: rows of `predictions` to show; None spreads them evenly, so that every class and patient can be seen.
    """
    from vesalius.evaluation.figures import image_grid_figure

    if positions is None:
        positions = np.unique(np.linspace(0, len(predictions) - 1, _GRID_IMAGES).astype(np.int64))
    p = read_predictions(predictions.iloc[positions], task=facts.task, classes=facts.classes, decision=decision)
    images = data.store[data.rows("test")[torch.from_numpy(positions)]].numpy()
    names = np.array(facts.classes)
    true = [", ".join(names[row]) or "none" for row in p.truth]
    predicted = [", ".join(names[row]) or "none" for row in p.decided]
    captions = [f"{chance:.0%} sure" for chance in p.probabilities.max(axis=1)]
    return image_grid_figure(images, true, predicted, captions=captions if facts.single_label else None)


def save_figures(figures: Mapping[str, "Figure"], folder: Path) -> None:
    """One PNG a figure."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
