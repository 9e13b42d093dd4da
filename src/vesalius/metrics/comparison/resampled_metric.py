"""One metric of several predictions tables of the same samples, computed again for any weights of the patients.

T tables, N samples, G patients, R weightings of the patients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.classification.calibration import CalibrationGaps
from vesalius.metrics.classification.folds import fold_mean, why_no_fold_mean
from vesalius.metrics.classification.metrics import why_undefined
from vesalius.metrics.classification.no_skill import no_skill_values
from vesalius.metrics.classification.weighted import weighted_metrics
from vesalius.metrics.entry import Interval
from vesalius.metrics.groups import effective_groups, number_groups, sum_by_group
from vesalius.metrics.intervals.auroc import fold_method
from vesalius.metrics.intervals.clustered import bootstrap_weights
from vesalius.metrics.intervals.transforms import Scale, scale_of
from vesalius.metrics.names import (
    CLASSIFICATION_METRICS,
    COUNTING,
    OVERALL_ONLY,
    RANKING,
    RECONSTRUCTION_METRICS,
    REGRESSION_METRICS,
)
from vesalius.metrics.predictions import Predictions, read_predictions, target_columns
from vesalius.metrics.regression import check_regression, read_regression, weighted_errors, why_too_few

Floats = NDArray[np.float64]

#: Fewest patients on the rarest side of a difference that has an interval: with less, its half width is mostly above
#: .3, so that hardly any difference could be shown (`tests/proofs/test_comparisons.py` prints it).
MIN_PATIENTS = 5

#: What predictions tables hold: class probabilities, continuous targets, or errors of reconstructed images.
PredictionTask = Task | Literal["reconstruction"]


_EVERYONE = "in the test set"


@dataclass(frozen=True)
class ResampledMetric:
    """A metric of T tables.

    Attributes:
        compute: (R, G) weights of the patients to (T, R) values; NaN where undefined.
        groups: (N,) number of the sample's patient, 0..G-1.
        score_count: numbers that one table's metric is computed from, which limit the number of resamples.
        sides: sets of samples, each (N,), by words such as `of class cyst`, whose patients the metric varies over; that
            of fewest patients gives its degrees of freedom.
        scale: on which an interval of the metric is symmetric.
        interval: over patients, of a single table that is not resampled for it.
        method: what the spread over patients comes from.
        counts: whether it is a share of right decisions, or a mean of such shares, one per side.
        no_skill: the metric's value without skill; None where the tables do not determine it.
        reason: why the metric, or its interval, is undefined; None where it is defined.
    """

    compute: Callable[[Floats], Floats]
    groups: NDArray[np.int64]
    score_count: int
    sides: Mapping[str, NDArray[np.bool_]]
    scale: Scale
    interval: Interval | None = None
    method: str = "cluster bootstrap"
    counts: bool = False
    no_skill: float | None = None
    reason: str | None = None

    @property
    def group_count(self) -> int:
        """Number of patients."""
        return int(self.groups.max()) + 1

    @property
    def side_patients(self) -> dict[str, float]:
        """How many patients of equally many samples each side is worth."""
        return {words: effective_groups(side, self.groups) for words, side in self.sides.items()}

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the metric's spread over patients, and of that of a difference between tables."""
        return min(self.side_patients.values()) - 1

    @property
    def too_few(self) -> str | None:
        """Why two tables cannot be compared by this metric; None where each side has `MIN_PATIENTS`."""
        words, worth = min(self.side_patients.items(), key=lambda pair: pair[1])
        if worth >= MIN_PATIENTS:
            return None
        patients = len(np.unique(self.groups[self.sides[words]]))
        counted = f" (worth {worth:.1f} with equally many samples each)" if patients >= MIN_PATIENTS else ""
        return f"too few patients to compare: {patients} {words}{counted}, at least {MIN_PATIENTS} are needed"

    def least_variance(self, difference: float) -> float:
        """Variance that one more patient on each side would add to a difference of shares.

        Half of that patient goes right in the first table only and half in the second only, as in the interval of
        paired proportions of Bonett & Price (J Educ Behav Stat 37:479, 2012), which adds two such patients.
        """
        worth = np.array(list(self.side_patients.values()))
        return float((1 + difference**2) * (1 / (worth + 2) ** 2).sum() / len(worth) ** 2)

    def values(self) -> Floats:
        """(T,) the metric of each table."""
        return self.compute(np.ones((1, self.group_count)))[:, 0]

    def replicates(self, tables: int, seed: int) -> Floats:
        """(T, R) the metric in resamples of the patients, which are the same for all of T tables."""
        return self.compute(bootstrap_weights(self.group_count, self.score_count * tables, seed))


def resampled_metric(
    tables: Sequence[pd.DataFrame], *, metric: str, task: PredictionTask, classes: Sequence[str]
) -> ResampledMetric:
    """Check tables of the same samples and prepare one of their metrics.

    Args:
        tables: predictions, rows in any order. A column `threshold` holds the probability of class 1, or of each label,
            above which a sample is predicted positive; without it, or where it is NaN, the most probable class is
            predicted. A column `fold` numbers the folds of a cross-validation, each tested by a model of its own:
            ranking metrics are means over them.
        metric: name such as `auroc`, `recall/nodule`, `mae` or, of reconstructions, `psnr`.
        task: how classes relate to a sample, or `reconstruction`.
        classes: names of the classes or continuous targets; not used for reconstructions.

    Raises:
        InputError: for no table, an unknown metric, incomplete tables, or different samples, patients or truths.
    """
    if not tables:
        raise InputError("There is no predictions table to compare; give at least one.")
    if task == "reconstruction":
        _check_name(metric in RECONSTRUCTION_METRICS, metric, RECONSTRUCTION_METRICS)
        return _reconstruction(_aligned(tables, []), metric)
    name, slash, label = metric.partition("/")
    if task == "regression":
        known = name in REGRESSION_METRICS and (not slash or label in classes)
        _check_name(known, metric, REGRESSION_METRICS, "mae")
        return _regression(_aligned(tables, [f"target/{target}" for target in classes]), name, label, classes)
    per_class = label in classes and name not in OVERALL_ONLY
    known = name in CLASSIFICATION_METRICS and (not slash or per_class)
    _check_name(known, metric, CLASSIFICATION_METRICS, "recall")
    return _classification(_aligned(tables, target_columns(task, classes)), metric, task, classes)


def _check_name(known: bool, metric: str, names: Sequence[str], example: str = "") -> None:
    if not known:
        of_one = f", or {example}/<name> and the like" if example else ""
        raise InputError(f"metric {metric}: unknown; use one of {', '.join(names)}{of_one}.")


def _aligned(tables: Sequence[pd.DataFrame], truth: Sequence[str]) -> list[pd.DataFrame]:
    """The tables with rows in one order."""
    shared = ["sample_id", "group_id", *truth]
    for number, table in enumerate(tables, 1):
        if missing := [column for column in shared if column not in table.columns]:
            raise InputError(f"predictions table {number}: no column {', '.join(missing)}; a metric needs it.")
    first, *others = (table.sort_values("sample_id", ignore_index=True) for table in tables)
    for other in others:
        if len(first) != len(other) or (first[shared].astype(str) != other[shared].astype(str)).any(axis=None):
            raise InputError(
                "The predictions tables differ in samples, patients or truth; compare models on one split."
            )
    return [first, *others]


def _classification(tables: Sequence[pd.DataFrame], metric: str, task: Task, classes: Sequence[str]) -> ResampledMetric:
    read = [
        read_predictions(
            table, task=task, classes=classes, decision=_decision(table), name=f"predictions table {number}"
        )
        for number, table in enumerate(tables, 1)
    ]
    name, _, label = metric.partition("/")
    if name in RANKING and any("fold" in table for table in tables):
        every = range(1, 2) if task == "binary" else range(len(classes))
        return _fold_means(tables, read, name, [classes.index(label)] if label else every)
    return classification_metric(read, metric)


def classification_metric(read: Sequence[Predictions], metric: str) -> ResampledMetric:
    """A metric of the predictions of T models for the same samples in one order."""
    first = read[0]
    name, _, label = metric.partition("/")
    columns = [first.classes.index(label)] if label else list(range(len(first.classes)))
    reasons = [why for p in read if (why := why_undefined(p, name, columns))]
    if first.group_count < 2:
        reasons = ["one patient only: no interval over patients"]
    # That of `ece` depends on a model's confidences.
    no_skill = [value for p in read if (value := no_skill_values(p)[metric]) is not None]
    return ResampledMetric(
        compute=lambda weights: np.stack([weighted_metrics(p, weights, [name])[metric] for p in read]),
        groups=first.groups,
        score_count=first.truth.size,
        sides=dict(_sides(read, name, columns)),
        scale=scale_of(name, first.task),
        interval=CalibrationGaps.of(first).interval() if name == "ece" and not reasons else None,
        counts=name in COUNTING,
        no_skill=float(np.mean(no_skill)) if no_skill else None,
        reason=reasons[0] if reasons else None,
    )


def _sides(read: Sequence[Predictions], name: str, columns: Sequence[int]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The samples that a metric of these classes varies over, in parts."""
    first = read[0]
    if name in OVERALL_ONLY:
        yield _EVERYONE, np.ones(len(first.groups), dtype=np.bool_)
        return
    both = name in RANKING or (name == "balanced_accuracy" and not first.single_label)
    for k in columns:
        label = first.classes[k]
        if name == "precision":
            decided = (p.decided[:, k] for p in read)
            yield f"predicted as {label}", min(decided, key=lambda side: effective_groups(side, first.groups))
        elif name != "specificity":
            yield f"of class {label}", first.truth[:, k]
        if both or name == "specificity":
            without = f"of class {first.classes[1 - k]}" if first.task == "binary" else f"without class {label}"
            yield without, ~first.truth[:, k]


def _fold_means(
    tables: Sequence[pd.DataFrame], read: Sequence[Predictions], name: str, columns: Sequence[int]
) -> ResampledMetric:
    """A ranking metric over the folds of a cross-validation, which resamples would leave without some class."""
    folds = [np.unique(table.get("fold", np.zeros(len(table))), return_inverse=True)[1] for table in tables]
    reasons = [why_no_fold_mean(p, name, columns, of_table) for p, of_table in zip(read, folds, strict=True)]
    reason = next(filter(None, reasons), None)
    means = [] if reason else [fold_mean(p, name, columns, each) for p, each in zip(read, folds, strict=True)]
    moved = [mean.moved for mean in means]
    return ResampledMetric(
        # The metric itself at weights of 1, and what the influences make of it elsewhere.
        compute=lambda weights: np.stack([one.value + (weights - 1) @ one.of_patients for one in moved]),
        groups=read[0].groups,
        score_count=read[0].truth.size,
        sides=dict(_sides(read, name, columns)),
        scale=scale_of(name, read[0].task),
        interval=means[0].interval if means else None,
        method=fold_method(moved[0]) if means else "none",
        no_skill=float(np.mean([mean.no_skill for mean in means])) if means else no_skill_values(read[0])[name],
        reason=reason,
    )


def _decision(table: pd.DataFrame) -> Literal["argmax"] | Floats:
    return table["threshold"].to_numpy(np.float64) if "threshold" in table else "argmax"


def _regression(tables: Sequence[pd.DataFrame], name: str, target: str, targets: Sequence[str]) -> ResampledMetric:
    for number, table in enumerate(tables, 1):
        check_regression(table, targets, f"predictions table {number}")
    read = [read_regression(table, targets) for table in tables]
    truth, _, groups = read[0]
    columns = [targets.index(target)] if target else list(range(len(targets)))

    def compute(weights: Floats) -> Floats:
        errors = (weighted_errors(*each, weights)[name][:, columns].mean(axis=1) for each in read)
        return np.stack([1 - error if name == "r2" else error for error in errors])

    reason = None
    if name == "r2" and (np.ptp(truth[:, columns], axis=0) == 0).any():
        reason = "all samples have the same target: nothing to explain"
    reason = why_too_few(name, int(groups.max()) + 1) or reason
    everyone = {_EVERYONE: np.ones(len(groups), dtype=np.bool_)}
    return ResampledMetric(compute, groups, truth.size, everyone, scale_of(name, "regression"), reason=reason)


def _reconstruction(tables: Sequence[pd.DataFrame], metric: str) -> ResampledMetric:
    for number, table in enumerate(tables, 1):
        if metric not in table or not np.isfinite(table[metric].to_numpy(np.float64)).all():
            raise InputError(
                f"predictions table {number}: no finite number in {metric} of every image; evaluate the run again."
            )
    groups = number_groups(tables[0]["group_id"])
    count = int(groups.max()) + 1
    values = np.column_stack([table[metric].to_numpy(np.float64) for table in tables])
    sums, sizes = sum_by_group(values, groups, count), np.bincount(groups, minlength=count)
    return ResampledMetric(
        compute=lambda weights: ((weights @ sums) / (weights @ sizes)[:, None]).T,
        groups=groups,
        score_count=len(groups),
        sides={_EVERYONE: np.ones(len(groups), dtype=np.bool_)},
        scale=scale_of(metric, "reconstruction"),
        reason="one patient only: no interval over patients" if count < 2 else None,
    )
