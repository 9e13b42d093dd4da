"""Statistics of validation that a run keeps, and whether other data differ from them."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import Split
from vesalius.evaluation.base import Metrics, Results
from vesalius.evaluation.monitoring.out_of_distribution import features_of
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.out_of_distribution import OutOfDistribution
from vesalius.metrics.predictions import decide, read_predictions
from vesalius.metrics.shift.sentinel import Shift, compare, reference_of
from vesalius.metrics.shift.statistics import Observations, image_statistics, output_statistics, stacked
from vesalius.runs.arrays import read_arrays
from vesalius.runs.run_folder import OOD

#: Most samples of a split whose images are read.
MOST = 2_000


def fit_reference(results: Results, val: pd.DataFrame, metrics: Metrics) -> Metrics:
    """The entry `reference` of `metrics.json`: statistics of the validation split.

    Args:
        results: of the run; its folder may hold statistics of features.
        val: predictions of validation.
        metrics: of the run, with its calibration and threshold.
    """
    observed = observe(results, "val", val, metrics, results.folder / OOD)
    return {"reference": reference_of(observed, results.facts.classes)} if len(observed) else {}


def detect_shift(results: Results, test: pd.DataFrame, run: Any) -> Shift | None:
    """Compare the test split of other data with a run's validation; None for a run that has kept no statistics.

    Args:
        results: of the run's model on the other data.
        test: predictions for these.
        run: folder of the run.
    """
    metrics = run.metrics
    if "reference" not in metrics:
        return None
    observed = observe(results, "test", test, metrics, run.path / OOD)
    return compare(metrics["reference"], observed, single_label=results.facts.single_label)


def observe(results: Results, split: Split, table: pd.DataFrame, metrics: Mapping[str, Any], ood: Any) -> Observations:
    """The statistics of a split's images and predictions.

    Args:
        results: of the model on the data.
        split: of the samples.
        table: predictions of all of them, in the order of the data.
        metrics: of the run, with its calibration and threshold.
        ood: path of the run's statistics of features.
    """
    data, facts = results.data, results.facts
    rows = data.spread_rows(split, MOST)
    images = [image_statistics(_images(data, int(row)), data.value_max) for row in rows]
    place = {int(row): at for at, row in enumerate(data.rows(split))}
    chosen = table.iloc[[place[int(row)] for row in rows]].reset_index(drop=True)
    observed = observe_predictions(chosen, facts, metrics)
    observed.values |= stacked(images)
    if ood.is_file():
        try:
            scores = OutOfDistribution.from_arrays(read_arrays(ood)).score(features_of(results, rows))
            observed.values["distance"] = scores
        except InputError:  # a damaged file is named where it is needed
            pass
    return observed


def _images(data: ImageDataModule, row: int) -> NDArray[Any]:
    """The image, or all frames of the series, of a row: (T, C, H, W)."""
    first, last = data.store.offsets[row : row + 2].tolist() if data.store.series else (row, row + 1)
    frames: NDArray[Any] = data.store.frames(torch.arange(first, last)).numpy()
    return frames


def observe_predictions(table: pd.DataFrame, facts: Facts, metrics: Mapping[str, Any]) -> Observations:
    """The statistics of a predictions table.

    Args:
        table: with the outputs of the net, before calibration.
        facts: of the data that the model was trained on.
        metrics: with the calibration and threshold that belong to it.
    """
    groups = table["group_id"].astype(str).to_numpy(dtype=object)
    if facts.task == "regression":
        outputs = table[[f"pred/{name}" for name in facts.classes]].to_numpy(np.float64)
        return Observations(output_statistics(facts.classes, outputs, regression=True), groups=groups)
    rule = DecisionRule.of_metrics(metrics, facts)
    p = read_predictions(table, task=facts.task, classes=facts.classes)
    outputs = rule.calibrate(p.probabilities)
    thresholds = np.full(len(table), rule.threshold)
    return Observations(
        output_statistics(facts.classes, outputs, regression=False),
        decided=decide(p.probabilities, facts.task, thresholds),
        gaps=p.truth - outputs,
        groups=cast(Any, groups),
    )
