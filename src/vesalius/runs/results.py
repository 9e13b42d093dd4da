"""The final numbers of a run: from predictions to `metrics.json` and pictures."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.data.audit.audit import repeated_in_test
from vesalius.data.audit.checks import Audited
from vesalius.data.datamodule import ImageDataModule
from vesalius.evaluation.baselines import MAX_TRAIN, fit_baselines
from vesalius.evaluation.metrics import classification_metrics
from vesalius.evaluation.predictions import Decision, read_predictions
from vesalius.evaluation.regression import regression_metrics
from vesalius.evaluation.thresholds import choose_threshold
from vesalius.runs.folder import HISTORY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

SCHEMA = 1
_GRID_IMAGES = 24
_STRIPS = 8

Metrics = dict[str, Any]


def judge(predictions: Mapping[str, pd.DataFrame], facts: Facts, evaluation: Mapping[str, Any]) -> Metrics:
    """Metrics of each predicted split; the decision threshold comes from validation alone.

    Args:
        predictions: the predictions table of `val` and `test`, or of `test` with a decision already made.
        facts: of the data that the model was trained on.
        evaluation: the config node; `decision` is a rule for validation, or a number that was picked before.
    """
    metrics: Metrics = {"schema": SCHEMA, "task": facts.task}
    if facts.task == "regression":
        return metrics | {split: judge_table(table, facts) for split, table in predictions.items()}
    decision = evaluation["decision"]
    threshold: Decision = decision
    if facts.task == "binary" and isinstance(decision, str) and decision != "argmax":
        threshold = choose_threshold(predictions["val"], decision)
    metrics["decision"] = {"rule": str(decision), "threshold": threshold}
    return metrics | {split: judge_table(table, facts, threshold) for split, table in predictions.items()}


def judge_table(table: pd.DataFrame, facts: Facts, decision: Decision = "argmax") -> Metrics:
    """Every metric of a predictions table."""
    if facts.task == "regression":
        assert facts.target_mean is not None
        return regression_metrics(table, names=facts.classes, no_skill=facts.target_mean)
    return classification_metrics(table, task=facts.task, classes=facts.classes, decision=decision)


def judge_baselines(data: ImageDataModule, test: pd.DataFrame, facts: Facts, seed: int) -> Metrics:
    """Cheap models, fitted on the training split and judged on the test split like the network."""
    train, val = data.rows("train"), data.rows("val")
    train = train[:: max(1, -(-len(train) // MAX_TRAIN))]  # before it is read: a streamed set must not fill the memory
    inputs = [data.linear_inputs(rows) for rows in (train, val, data.rows("test"))]
    arms = fit_baselines(
        inputs[0]["pixels"],
        data.targets[train].numpy(),
        inputs[1]["pixels"],
        data.targets[val].numpy(),
        inputs[2]["pixels"],
        task=facts.task,
        classes=facts.classes,
        seed=seed,
        features={name: tuple(split[name] for split in inputs) for name in inputs[0] if name != "pixels"},  # type: ignore[misc]
    )
    columns = [f"{'pred' if facts.task == 'regression' else 'prob'}/{name}" for name in facts.classes]
    judged: Metrics = {}
    for arm, answers in arms.items():
        table = test.copy()
        if isinstance(answers, str):
            logger.warning("No baseline %s: %s.", arm, answers)
            continue
        table[columns] = answers
        judged[arm] = judge_table(table, facts)
    return judged


def write_skipped(data: ImageDataModule, folder: Path) -> None:
    """`skipped.csv`: what was left out, and why; no file where nothing was."""
    left_out = [*data.source.left_out, *data.store.skipped]
    if left_out:
        pd.DataFrame(left_out, columns=["sample_id", "reason"]).to_csv(folder / "skipped.csv", index=False)


def judge_unrepeated(test: pd.DataFrame, data: ImageDataModule, facts: Facts, metrics: Metrics) -> Metrics:
    """The test metrics without images that equal, or nearly equal, one of training or validation."""
    repeated = repeated_in_test(Audited(data.table, data.store, data.source))
    kept = test[~test["sample_id"].astype(str).isin(repeated)].reset_index(drop=True)
    if kept.empty:
        logger.warning("Every test image repeats one of training or validation: nothing is left to judge without them.")
        return {}
    decision: Decision = metrics.get("decision", {}).get("threshold", "argmax")
    return {"without_duplicates": judge_table(kept, facts, decision)}


def draw(
    metrics: Metrics, test: pd.DataFrame, data: ImageDataModule, facts: Facts, folder: Path
) -> dict[str, "Figure"]:
    """The pictures of a run: of its predictions, of its learning, and of what it looked at."""
    from vesalius.evaluation import figures
    from vesalius.evaluation.regression_figures import scatter_figure
    from vesalius.evaluation.series_figures import evidence_figure

    kind: dict[str, Any] = {"task": facts.task, "classes": facts.classes}
    decision: Decision = metrics.get("decision", {}).get("threshold", "argmax")
    drawn: dict[str, Figure] = {}
    if facts.task == "regression":
        drawn["scatter"] = scatter_figure(test, facts.classes, metrics["test"])
    else:
        drawn["confusion_matrix"] = figures.confusion_matrix_figure(test, **kind, decision=decision)
        drawn["roc"] = figures.roc_figure(test, **kind, metrics=metrics["test"])
        drawn["calibration"] = figures.reliability_figure(test, **kind, metrics=metrics["test"])
    if data.source.series:
        drawn["test_series"] = strips_of_series(test, data, facts, decision)
    else:
        drawn["test_images"] = grid_of_images(test, data, facts, decision)
    if "time_shuffled" in metrics.get("evidence", {}):
        drawn["evidence"] = evidence_figure(metrics["evidence"], "mae" if facts.task == "regression" else "auroc")
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
    chosen = predictions.iloc[positions]
    images = data.store[data.rows("test")[torch.from_numpy(positions)]].numpy()
    true, predicted = _named(chosen, facts, decision)
    captions = [f"{chance:.0%} sure" for chance in chosen.filter(like="prob/").to_numpy().max(axis=1)]
    return image_grid_figure(images, true, predicted, captions=captions if facts.single_label else None)


def strips_of_series(
    predictions: pd.DataFrame, data: ImageDataModule, facts: Facts, decision: Decision = "argmax"
) -> "Figure":
    """Test series, a row of frames each, with what they are and what the model said.

    Args:
        predictions: the table of the whole test split, in its own order.
        data: where the series are.
        facts: names of the classes or quantities.
        decision: as the metrics used it.
    """
    from vesalius.evaluation.series_figures import filmstrip_figure

    positions = np.unique(np.linspace(0, len(predictions) - 1, _STRIPS).astype(np.int64))
    chosen, rows = predictions.iloc[positions], data.rows("test")[torch.from_numpy(positions)]
    wrong = None
    if facts.task == "regression":
        first = facts.classes[0]
        names = [
            f"{first}\n{true:.3g}, said {said:.3g}"
            for true, said in zip(chosen[f"target/{first}"], chosen[f"pred/{first}"], strict=True)
        ]
    else:
        true, predicted = _named(chosen, facts, decision)
        wrong = [one != other for one, other in zip(true, predicted, strict=True)]
        names = [f"{b}, not\n{a}" if bad else a for a, b, bad in zip(true, predicted, wrong, strict=True)]
    starts, ends = data.store.offsets[rows].tolist(), data.store.offsets[rows + 1].tolist()
    series = [data.store.frames(torch.arange(a, b)).numpy() for a, b in zip(starts, ends, strict=True)]
    times = data.table["_times"].iloc[rows.tolist()].tolist() if "_times" in data.table else None
    return filmstrip_figure(series, names, times=times, wrong=wrong)


def _named(predictions: pd.DataFrame, facts: Facts, decision: Decision) -> tuple[list[str], list[str]]:
    """Names of the true and of the predicted classes."""
    p = read_predictions(predictions, task=facts.task, classes=facts.classes, decision=decision)
    names = np.array(facts.classes)
    return [", ".join(names[row]) or "none" for row in p.truth], [", ".join(names[row]) or "none" for row in p.decided]


def save_figures(figures: Mapping[str, "Figure"], folder: Path) -> None:
    """One PNG a figure."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
