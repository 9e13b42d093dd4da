"""Results of models that answer targets: classes or quantities of an image or an image series."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import Split
from vesalius.evaluation.base import Metrics, Results, Start
from vesalius.evaluation.inference import predict
from vesalius.evaluation.scoring import judge, judge_table
from vesalius.evaluation.temporal_ablation import temporal_evidence
from vesalius.metrics.baselines.linear_models import MAX_TRAIN, fit_baselines
from vesalius.metrics.predictions import Decision, read_predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

_GRID_IMAGES = 24
_STRIPS = 8


class SupervisedResults(Results):
    """Metrics of predicted classes or quantities, cheap models on the same split, and evidence that time matters."""

    def predictions(self, split: Split) -> pd.DataFrame:
        """A probability for each class, or a value for each quantity."""
        return predict(self.model, self.data, split, self.facts, self.device)

    def judge(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Metrics of each split; the decision threshold comes from validation, or from the run that was judged."""
        return judge(predictions, self.facts, self.config["evaluation"])

    def judge_table(self, table: pd.DataFrame, metrics: Metrics) -> Metrics:
        """Metrics of some samples, decided as the run is."""
        return judge_table(table, self.facts, _threshold(metrics))

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> Metrics:
        """Cheap models, fitted on the training split and judged on the test split like the network."""
        self.baseline_tables = predict_baselines(self.data, predictions["test"], self.facts, self.config["seed"])
        return {arm: judge_table(table, self.facts) for arm, table in self.baseline_tables.items()}

    def evidence(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """Of image series: what the model reaches with information taken away."""
        evaluation = self.config["evaluation"]
        if not (evaluation["evidence"] and self.data.source.series):
            return {}
        chosen = evaluation["evidence_classes"]
        arms = temporal_evidence(
            self.model,
            self.data,
            self.facts,
            self.config,
            self.folder,
            self.device,
            start=start,
            decision=_threshold(metrics),
        )
        told: Metrics = {"evidence_classes": chosen} if chosen else {}
        return told | {"evidence": metrics["evidence"] | arms}

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """The pictures of predictions and of what the model looked at."""
        return draw(metrics, predictions["test"], self.data, self.facts)


def _threshold(metrics: Metrics) -> Decision:
    decision: Decision = metrics.get("decision", {}).get("threshold", "argmax")
    return decision


def predict_baselines(data: ImageDataModule, test: pd.DataFrame, facts: Facts, seed: int) -> dict[str, pd.DataFrame]:
    """Test predictions of cheap models that were fitted on the training split."""
    # Not more than that: a streamed set must not fill the memory.
    train, val = data.spread_rows("train", MAX_TRAIN, real=True), data.rows("val")
    if not len(train):
        logger.info("No baselines: training has synthetic images alone.")
        return {}
    inputs = [data.baseline_inputs(rows) for rows in (train, val, data.rows("test"))]
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
    tables: dict[str, pd.DataFrame] = {}
    for arm, answers in arms.items():
        table = test.copy()
        if isinstance(answers, str):
            logger.warning("No baseline %s: %s.", arm, answers)
            continue
        table[columns] = answers
        tables[arm] = table
    return tables


def draw(metrics: Metrics, test: pd.DataFrame, data: ImageDataModule, facts: Facts) -> dict[str, "Figure"]:
    """The pictures of a run: of its predictions, and of what it looked at."""
    from vesalius.figures import classification as figures
    from vesalius.figures.regression import scatter_figure
    from vesalius.figures.series import evidence_figure

    kind: dict[str, Any] = {"task": facts.task, "classes": facts.classes}
    decision = _threshold(metrics)
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
    from vesalius.figures.classification import image_grid_figure

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
    from vesalius.figures.series import filmstrip_figure

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
