"""One metric of several predictions tables of the same samples, with patients counted as often as asked.

T tables, N samples, G patients, R weightings of the patients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics import regression
from vesalius.metrics.classification import why_undefined
from vesalius.metrics.intervals.clustered import bootstrap_weights, effective_groups
from vesalius.metrics.intervals.scales import Scale, scale_of
from vesalius.metrics.no_skill import no_skill_values
from vesalius.metrics.predictions import read_predictions, target_columns
from vesalius.metrics.reconstruction import RECONSTRUCTION_METRICS
from vesalius.metrics.statistics import CALIBRATION, FAMILIES, per_group, weighted_metrics

Floats = NDArray[np.float64]

#: What was learned: labels, quantities, or the images themselves.
Judged = Task | Literal["reconstruction"]

#: Computed over all classes at once: there is no value of one class.
_WHOLE = ("accuracy", *CALIBRATION)


@dataclass(frozen=True)
class WeightedTables:
    """A metric of T tables.

    Attributes:
        under: (R, G) weights of the patients to (T, R) values; NaN where undefined.
        groups: (N,) number of the sample's patient, 0..G-1.
        scores: numbers that one table is computed from, which decide how many resamples can be paid.
        members: (N,) or more of them: samples of which there must be enough patients for the metric to vary little.
        scale: on which an interval of the metric is symmetric.
        no_skill: the metric's value without skill; None where the tables do not tell it.
        reason: why the metric, or its interval, is undefined; None where it is defined.
    """

    under: Callable[[Floats], Floats]
    groups: NDArray[np.int64]
    scores: int
    members: tuple[NDArray[np.bool_], ...]
    scale: Scale
    no_skill: float | None = None
    reason: str | None = None

    @property
    def group_count(self) -> int:
        """Number of patients."""
        return int(self.groups.max()) + 1

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the metric's spread over patients."""
        return min(effective_groups(member, self.groups) for member in self.members) - 1

    @property
    def degrees_of_all(self) -> float:
        """The same, of a difference, to which all patients add."""
        return effective_groups(np.ones(len(self.groups), dtype=np.bool_), self.groups) - 1

    def values(self) -> Floats:
        """(T,) the metric of each table."""
        return self.under(np.ones((1, self.group_count)))[:, 0]

    def replicates(self, tables: int, seed: int) -> Floats:
        """(T, R) the metric in resamples of the patients, which are the same for all of T tables."""
        return self.under(bootstrap_weights(self.group_count, self.scores * tables, seed))


def weighted_tables(
    tables: Sequence[pd.DataFrame], *, metric: str, task: Judged, classes: Sequence[str]
) -> WeightedTables:
    """Check tables of the same samples and prepare a metric of theirs.

    Args:
        tables: predictions, rows in any order. A column `threshold` says above which probability of class 1, or of each
            label, a sample's answer is yes; it is decided by argmax where there is none, or NaN in it.
        metric: name such as `auroc`, `recall/nodule`, `mae` or, of reconstructions, `psnr`.
        task: what the classes are to each other, or `reconstruction`.
        classes: names of the classes or quantities; of no use for reconstructions.

    Raises:
        InputError: for no table, an unknown metric, tables that lack something, or other samples, patients or truths.
    """
    if not tables:
        raise InputError("No predictions table to judge; give at least one.")
    if task == "reconstruction":
        _known(metric in RECONSTRUCTION_METRICS, metric, RECONSTRUCTION_METRICS)
        return _reconstruction(_aligned(tables, []), metric)
    family, slash, label = metric.partition("/")
    if task == "regression":
        _known(family in regression.ORDER and (not slash or label in classes), metric, regression.ORDER, "mae")
        return _regression(_aligned(tables, [f"target/{name}" for name in classes]), family, label, classes)
    per_class = label in classes and family not in _WHOLE
    _known(family in FAMILIES and (not slash or per_class), metric, FAMILIES, "recall")
    return _classification(_aligned(tables, target_columns(task, classes)), metric, task, classes)


def _known(known: bool, metric: str, names: Sequence[str], example: str = "") -> None:
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


def _classification(tables: Sequence[pd.DataFrame], metric: str, task: Task, classes: Sequence[str]) -> WeightedTables:
    family, _, label = metric.partition("/")
    read = [
        read_predictions(
            table, task=task, classes=classes, decision=_decision(table), name=f"predictions table {number}"
        )
        for number, table in enumerate(tables, 1)
    ]
    first = read[0]
    columns = [classes.index(label)] if label else list(range(len(classes)))
    reasons = [why for p in read if (why := why_undefined(p, family, columns))]
    if first.group_count < 2:
        reasons = ["one patient only: no interval over patients"]
    everyone = np.ones(len(first.groups), dtype=np.bool_)
    return WeightedTables(
        under=lambda weights: np.stack([weighted_metrics(p, weights, [family])[metric] for p in read]),
        groups=first.groups,
        scores=first.truth.size,
        members=(everyone,) if family in _WHOLE else tuple(first.truth[:, k] for k in columns),
        scale=scale_of(family, task),
        no_skill=no_skill_values(first)[metric],
        reason=reasons[0] if reasons else None,
    )


def _decision(table: pd.DataFrame) -> Literal["argmax"] | Floats:
    return table["threshold"].to_numpy(np.float64) if "threshold" in table else "argmax"


def _regression(tables: Sequence[pd.DataFrame], family: str, name: str, names: Sequence[str]) -> WeightedTables:
    for number, table in enumerate(tables, 1):
        regression.check_table(table, names, f"predictions table {number}")
    read = [regression.read_quantities(table, names) for table in tables]
    truth, _, groups = read[0]
    columns = [names.index(name)] if name else list(range(len(names)))

    def under(weights: Floats) -> Floats:
        errors = (regression.weighted_errors(*each, weights)[family][:, columns].mean(axis=1) for each in read)
        return np.stack([1 - error if family == "r2" else error for error in errors])

    reason = None
    if family == "r2" and (np.ptp(truth[:, columns], axis=0) == 0).any():
        reason = "all samples have the same target: nothing to explain"
    if int(groups.max()) + 1 < regression.FEWEST[family]:
        reason = f"fewer than {regression.FEWEST[family]} patients: no interval over patients"
    everyone = (np.ones(len(groups), dtype=np.bool_),)
    return WeightedTables(under, groups, truth.size, everyone, scale_of(family, "regression"), reason=reason)


def _reconstruction(tables: Sequence[pd.DataFrame], metric: str) -> WeightedTables:
    for number, table in enumerate(tables, 1):
        if metric not in table or not np.isfinite(table[metric].to_numpy(np.float64)).all():
            raise InputError(
                f"predictions table {number}: no finite number in {metric} of every image; judge the run again."
            )
    groups = np.unique(tables[0]["group_id"].astype(str).to_numpy(dtype=object), return_inverse=True)[1]
    count = int(groups.max()) + 1
    values = np.column_stack([table[metric].to_numpy(np.float64) for table in tables])
    sums, sizes = per_group(values, groups, count), np.bincount(groups, minlength=count)
    return WeightedTables(
        under=lambda weights: ((weights @ sums) / (weights @ sizes)[:, None]).T,
        groups=groups.astype(np.int64),
        scores=len(groups),
        members=(np.ones(len(groups), dtype=np.bool_),),
        scale=scale_of(metric, "reconstruction"),
        reason="one patient only: no interval over patients" if count < 2 else None,
    )
