"""Results of models that predict targets: classes or continuous targets of an image or an image series."""

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
from vesalius.evaluation.base import Entries, Metrics, Results, Start
from vesalius.evaluation.decision import (
    DecisionOptions,
    calibrate_table,
    fit_decision,
    score_decision,
    score_prior_shift,
)
from vesalius.evaluation.imagenet_features import imagenet_features
from vesalius.evaluation.inference import predict, predictions_table
from vesalius.evaluation.monitoring.out_of_distribution import fit_out_of_distribution
from vesalius.evaluation.monitoring.shift import fit_reference
from vesalius.evaluation.scoring import decide, picks_threshold, score_splits, score_table
from vesalius.evaluation.temporal_ablation import ablate_time
from vesalius.metrics.baselines.linear_models import MAX_TRAIN, fit_baselines
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.predictions import Decision, read_predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

_GRID_IMAGES = 24
_STRIPS = 8


class SupervisedResults(Results):
    """Metrics of predicted targets, cheap models on the same split, and ablations of time."""

    def predictions(self, split: Split) -> pd.DataFrame:
        """A probability for each class, or a value for each continuous target."""
        return predict(self.model, self.data, split, self.facts, self.device)

    def score(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """Metrics of each split; how decisions are taken is chosen on validation, or was by the run."""
        chosen: Metrics = self.config.get("chosen") or {}
        threshold = chosen.get("decision", {}).get("threshold")
        metrics = score_splits(predictions, self.facts, self._rule, threshold)
        if self.facts.task == "regression":
            return metrics
        options = DecisionOptions.of_config(self.config["evaluation"])
        decision, test = metrics["decision"], predictions["test"]
        fitted = chosen or fit_decision(predictions["val"], self.facts, options, decision["threshold"])
        metrics |= score_decision(test, self.facts, fitted | {"decision": decision}, prevalence=options.prevalence)
        return metrics | (score_prior_shift(test, self.facts, fitted) if self.config.get("other_data") else {})

    def rescore(
        self, predictions: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame], metrics: Metrics
    ) -> Metrics:
        """All but ablations."""
        arms = {arm: score_table(table, self.facts) for arm, table in baselines.items()}
        return self.score(predictions) | ({"baselines": arms} if arms else {})

    def score_table(self, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Metrics of some samples, with the run's decision threshold."""
        return score_table(table, self.facts, _threshold(metrics))

    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> dict[str, Entries]:
        """Cheap models, fitted on the training split and evaluated on the test split like the network."""
        self.baseline_tables = predict_baselines(self.data, self.facts, self._rule, self.config["seed"], self.device)
        return {arm: score_table(table, self.facts) for arm, table in self.baseline_tables.items()}

    def analyses(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """What is unlike training, what validation was like; of series, the model with information taken away."""
        evaluation, found = self.config["evaluation"], fit_out_of_distribution(self)
        found |= fit_reference(self, predictions["val"], metrics)
        if not (evaluation["evidence"] and self.data.source.series):
            return found
        chosen = evaluation["evidence_classes"]
        arms = ablate_time(self, start)
        narrowed: Metrics = {"evidence_classes": chosen} if chosen else {}
        return found | narrowed | {"evidence": metrics["evidence"] | arms}

    @property
    def _rule(self) -> str:
        rule: str = self.config["evaluation"]["decision"]
        return rule

    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Figures of the predictions, of test images with them, and of ablations."""
        from vesalius.figures import classification as drawing
        from vesalius.figures.decision import abstention_figure, decision_curve_figure
        from vesalius.figures.regression import scatter_figure
        from vesalius.figures.series import ablation_figure

        test = predictions["test"]
        kind: dict[str, Any] = {"task": self.facts.task, "classes": self.facts.classes}
        decision = _threshold(metrics)
        figures: dict[str, Figure] = {}
        if self.facts.task == "regression":
            figures["scatter"] = scatter_figure(test, self.facts.classes, metrics["test"])
        else:
            figures["confusion_matrix"] = drawing.confusion_matrix_figure(test, **kind, decision=decision)
            figures["roc"] = drawing.roc_figure(test, **kind, metrics=metrics["test"])
            figures["calibration"] = drawing.reliability_figure(test, **kind, **self._calibrated(test, metrics))
            if "decision_curve" in metrics:
                figures["decision_curve"] = decision_curve_figure(metrics["decision_curve"])
                figures["abstention"] = abstention_figure(metrics["abstention"])
        if self.data.source.series:
            figures["test_series"] = strips_of_series(test, self.data, self.facts, decision)
        else:
            figures["test_images"] = grid_of_images(test, self.data, self.facts, decision)
        if "time_shuffled" in metrics.get("evidence", {}):
            figures["evidence"] = ablation_figure(
                metrics["evidence"], "mae" if self.facts.task == "regression" else "auroc"
            )
        return figures

    def _calibrated(self, test: pd.DataFrame, metrics: Metrics) -> dict[str, Any]:
        """What the figure of the calibration shows besides the net's probabilities."""
        calibration = Calibration.of_metrics(metrics, self.facts.num_classes)
        if calibration is None:
            return {"metrics": metrics["test"]}
        calibrated = calibrate_table(test, self.facts, calibration)
        scores = metrics["calibration"]["test"]
        return {"metrics": metrics["test"], "calibrated": calibrated, "calibrated_metrics": scores}


def _threshold(metrics: Metrics) -> Decision:
    decision: Decision = metrics.get("decision", {}).get("threshold", "argmax")
    return decision


def predict_baselines(
    data: ImageDataModule, facts: Facts, rule: str, seed: int, device: torch.device
) -> dict[str, pd.DataFrame]:
    """Test predictions of cheap models that were fitted on the training split, by name.

    Args:
        data: of the run.
        facts: of the data.
        rule: `evaluation.decision`, by which each picks its own threshold on validation.
        seed: of the fits.
        device: where ImageNet features are computed, if their weights are installed.
    """
    # At most MAX_TRAIN images: a streamed set must not fill the memory.
    train, val, test = data.spread_rows("train", MAX_TRAIN, real=True), data.rows("val"), data.rows("test")
    if not len(train):
        logger.info("No baselines: training has only synthetic images.")
        return {}
    decides = val if picks_threshold(facts, rule) else val[:0]
    predicted_rows = torch.cat([decides, test])
    inputs = [data.baseline_inputs(rows) for rows in (train, val, predicted_rows)]
    features = imagenet_features(data, torch.cat([train, val, predicted_rows]), device)
    if features is not None:
        parts = np.split(features, [len(train), len(train) + len(val)])
        inputs = [{**known, "imagenet": part} for known, part in zip(inputs, parts, strict=True)]
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
    tables: dict[str, pd.DataFrame] = {}
    for arm, predicted in arms.items():
        if isinstance(predicted, str):
            logger.warning("No baseline %s: %s.", arm, predicted)
            continue
        table = predictions_table(data, predicted_rows.numpy(), predicted, facts)
        tables[arm] = decide(table, len(decides), facts, rule)
    return tables


def grid_of_images(
    predictions: pd.DataFrame,
    data: ImageDataModule,
    facts: Facts,
    decision: Decision = "argmax",
    positions: NDArray[np.int64] | None = None,
) -> "Figure":
    """Test images with their true and predicted targets.

    Args:
        predictions: the table of the whole test split, in its own order.
        data: of the run.
        facts: with the names of the targets.
        decision: as for the metrics.
        positions: rows of `predictions` to show; None for evenly spread ones.
    """
    from vesalius.figures.classification import image_grid_figure

    if positions is None:
        positions = np.unique(np.linspace(0, len(predictions) - 1, _GRID_IMAGES).astype(np.int64))
    chosen = predictions.iloc[positions]
    images = data.store[data.rows("test")[torch.from_numpy(positions)]].numpy()
    if facts.task == "regression":
        return image_grid_figure(images, *[_value_captions(chosen, facts)] * 2)
    true, predicted = _class_names(chosen, facts, decision)
    captions = [f"{chance:.0%} sure" for chance in chosen.filter(like="prob/").to_numpy().max(axis=1)]
    return image_grid_figure(images, true, predicted, captions=captions if facts.single_label else None)


def strips_of_series(
    predictions: pd.DataFrame, data: ImageDataModule, facts: Facts, decision: Decision = "argmax"
) -> "Figure":
    """Test series, each as a row of frames, with true and predicted targets.

    Args:
        predictions: the table of the whole test split, in its own order.
        data: of the run.
        facts: with the names of the targets.
        decision: as for the metrics.
    """
    from vesalius.figures.series import filmstrip_figure

    positions = np.unique(np.linspace(0, len(predictions) - 1, _STRIPS).astype(np.int64))
    chosen, rows = predictions.iloc[positions], data.rows("test")[torch.from_numpy(positions)]
    wrong = None
    if facts.task == "regression":
        names = _value_captions(chosen, facts)
    else:
        true, predicted = _class_names(chosen, facts, decision)
        wrong = [one != other for one, other in zip(true, predicted, strict=True)]
        names = [f"{b}, not\n{a}" if bad else a for a, b, bad in zip(true, predicted, wrong, strict=True)]
    starts, ends = data.store.offsets[rows].tolist(), data.store.offsets[rows + 1].tolist()
    series = [data.store.frames(torch.arange(a, b)).numpy() for a, b in zip(starts, ends, strict=True)]
    times = data.table["_times"].iloc[rows.tolist()].tolist() if "_times" in data.table else None
    return filmstrip_figure(series, names, times=times, wrong=wrong)


def _class_names(predictions: pd.DataFrame, facts: Facts, decision: Decision) -> tuple[list[str], list[str]]:
    """Names of the true and of the predicted classes."""
    p = read_predictions(predictions, task=facts.task, classes=facts.classes, decision=decision)
    names = np.array(facts.classes)
    return [", ".join(names[row]) or "none" for row in p.truth], [", ".join(names[row]) or "none" for row in p.decided]


def _value_captions(predictions: pd.DataFrame, facts: Facts) -> list[str]:
    """The first continuous target of each sample, and what was predicted for it."""
    name = facts.classes[0]
    pairs = zip(predictions[f"target/{name}"], predictions[f"pred/{name}"], strict=True)
    return [f"{name}\n{true:.3g}, predicted {predicted:.3g}" for true, predicted in pairs]
