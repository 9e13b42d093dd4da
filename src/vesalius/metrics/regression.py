"""Final numbers of a regression, computed from its predictions table alone."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import (
    Floats,
    bootstrap_error,
    bootstrap_weights,
    effective_groups,
    t_quantile,
)
from vesalius.metrics.statistics import per_group

ORDER = ("mae", "rmse", "r2")

_NO_SPREAD = "the error is the same in all resamples of the patients: no interval over patients"
FEWEST = {"mae": 2, "rmse": 2, "r2": 3}  # patients: a resample of two that draws one twice has nothing to explain


def regression_metrics(
    predictions: pd.DataFrame, *, names: Sequence[str], no_skill: Sequence[float], seed: int = 0
) -> dict[str, MetricEntry]:
    """Every error with its 95 % interval over patients and its no-skill value.

    `mae` (mean absolute error) and `rmse` (root mean squared error) are in the units of the target, `r2` is the
    coefficient of determination, 1 - squared error / variance about the mean of these very samples: 1 is perfect, and
    below 0 that mean would have been the better prediction. Each comes per quantity, as `mae/time_to_peak`, and
    overall, as the mean over quantities.

    The interval is a cluster bootstrap's: patients are drawn, and the spread of the logarithm of `mae`, `rmse` and
    1 - `r2`, all of which are positive and skewed, is used with Student's t. Coverage over 600 simulated sets with
    normal errors (`pytest -m proof -s tests/evaluation/test_regression.py`), of `mae`, `rmse` and `r2`: 94.3, 93.5 and
    93.7 % with 60 patients, 94.0, 91.8 and 94.2 % with 20, no less with several samples a patient. Where the errors of
    some patients are much larger than those of others, it falls to about 90 % for `rmse`.

    Args:
        predictions: `sample_id`, `group_id`, `target/<name>` and `pred/<name>` for each quantity, rows in any order.
        names: the quantities.
        no_skill: mean of each quantity over the *training* samples; `no_skill` of a metric is what always
            predicting it comes to.
        seed: of the bootstrap.

    Returns:
        By name, in the order to show them, plain numbers ready for JSON: `value`, `ci95` (low, high), `n` (samples),
        `groups` (their patients), `method` (of the interval), `no_skill`. A metric that cannot be computed, or has no
        interval, has value and interval None and a `reason`: with one patient, `r2` with two, and where all resamples
        of the patients come to the same error.

    Raises:
        InputError: for a table that lacks columns, rows or numbers.
    """
    check_table(predictions, names)
    truth, predicted, groups = read_quantities(predictions, names)
    count = int(groups.max()) + 1
    constant = np.tile(np.asarray(no_skill, dtype=np.float64), (len(truth), 1))
    once = np.ones((1, count))
    values = weighted_errors(truth, predicted, groups, once)
    constant_errors = weighted_errors(truth, constant, groups, once)
    replicates = weighted_errors(truth, predicted, groups, bootstrap_weights(count, truth.size, seed))
    degrees = effective_groups(np.ones(len(groups), dtype=np.bool_), groups) - 1
    metrics: dict[str, MetricEntry] = {}
    for column in (None, *range(len(names))):
        for kind in ORDER:
            still = _unvarying(truth, names, column) if kind == "r2" else []
            reason = interval = None
            value = _of(values, kind, column)[0]
            if still:
                reason = f"all samples have the same {', '.join(still)}: nothing to explain"
            elif count < FEWEST[kind]:
                reason = f"{_patients(count)}: no interval over patients"
            else:
                interval = _interval(kind, value, _of(replicates, kind, column), degrees)
            without = None if still else _of(constant_errors, kind, column)[0]
            if interval is None:
                entry = missing_entry(reason or _NO_SPREAD, n=len(truth), groups=count, no_skill=without)
            else:
                entry = metric_entry(value, interval, n=len(truth), groups=count, no_skill=without)
            metrics[kind if column is None else f"{kind}/{names[column]}"] = entry
    return metrics


def paired_error_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str],
    metric: Literal["mae", "rmse"] = "mae",
    seed: int = 0,
) -> MetricEntry:
    """Error of the first minus error of the second, with an interval over patients: below 0 the first errs less.

    Both are judged on the same drawn patients, so that what makes a case hard for both cancels out. Cluster bootstrap,
    t interval.

    Args:
        first: predictions table, such as the model's.
        second: predictions table of the same samples in any order, such as a baseline's.
        names: the quantities; the difference is that of the mean over them.
        metric: in the units of the target.
        seed: of the bootstrap.

    Returns:
        As the entries of `regression_metrics`, with no-skill 0: no difference.

    Raises:
        InputError: for tables that lack something, or are of different samples, patients or truths.
    """
    check_table(first, names, "first predictions")
    check_table(second, names, "second predictions")
    first, second = (table.sort_values("sample_id", ignore_index=True) for table in (first, second))
    shared = ["sample_id", "group_id", *(f"target/{name}" for name in names)]
    if len(first) != len(second) or (first[shared].astype(str) != second[shared].astype(str)).any(axis=None):
        raise InputError(
            "The two predictions tables differ in samples, patients or truth; compare models on one split."
        )
    truth, predicted, groups = read_quantities(first, names)
    other = read_quantities(second, names)[1]
    count = int(groups.max()) + 1

    def under(weights: Floats) -> Floats:
        errors = (weighted_errors(truth, each, groups, weights)[metric].mean(axis=1) for each in (predicted, other))
        return np.asarray(next(errors) - next(errors))

    missing = partial(missing_entry, n=len(first), groups=count, no_skill=0.0)
    if count < 2:
        return missing(f"{_patients(count)}: no interval over patients")
    value = float(under(np.ones((1, count)))[0])
    degrees = effective_groups(np.ones(len(groups), dtype=np.bool_), groups) - 1
    error = bootstrap_error(under(bootstrap_weights(count, truth.size, seed)), degrees)
    if error == 0 and value != 0:
        return missing(_NO_SPREAD)
    half = t_quantile(degrees) * error
    interval = Interval(value - half, value + half, "paired cluster bootstrap")
    return metric_entry(value, interval, n=len(first), groups=count, no_skill=0.0)


def check_table(table: pd.DataFrame, names: Sequence[str], name: str = "predictions") -> None:
    """Refuse a table whose numbers would mean nothing.

    Raises:
        InputError: every problem found, with the column and the number of rows.
    """
    columns = [f"{kind}/{quantity}" for quantity in names for kind in ("target", "pred")]
    missing = [column for column in ("sample_id", "group_id", *columns) if column not in table.columns]
    if missing:
        raise InputError(f"{name}: no column {', '.join(missing)}; a regression of {', '.join(names)} needs it.")
    if table.empty:
        raise InputError(f"{name}: the table has no rows; give a split that has samples.")
    problems = []
    if table["sample_id"].duplicated().any():
        first = table.loc[table["sample_id"].duplicated(), "sample_id"].iloc[0]
        problems.append(f"{name}: sample_id {first!r} appears twice; each sample counts once.")
    for column in ("sample_id", "group_id"):
        if table[column].isna().any():
            problems.append(f"{name}: {int(table[column].isna().sum())} rows have no {column}; fill it in.")
    for column in columns:
        bad = int((~np.isfinite(pd.to_numeric(table[column], errors="coerce"))).sum())
        if bad:
            problems.append(f"{name}: {bad} rows have no finite number in {column}; correct or leave out those rows.")
    if problems:
        raise InputError(problems)


def read_quantities(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(N, K) truth and predictions, and the number of each row's patient."""
    truth, predicted = (table[[f"{kind}/{name}" for name in names]].to_numpy(np.float64) for kind in ("target", "pred"))
    groups = np.unique(table["group_id"].astype(str).to_numpy(dtype=object), return_inverse=True)[1]
    return truth, predicted, groups.astype(np.int64)


def _patients(count: int) -> str:
    return "one patient only" if count == 1 else f"{count} patients only"


def weighted_errors(truth: Floats, predicted: Floats, groups: NDArray[np.int64], weights: Floats) -> dict[str, Floats]:
    """Each error (R, K) with patients counted as often as each of R rows of `weights` (R, G) says; NaN: undefined.

    R² is here 1 - R², which is positive.
    """
    count = weights.shape[1]
    centred = truth - truth.mean(axis=0)  # squares of large values would lose their small differences

    def total(values: Floats) -> Floats:
        return np.asarray(weights @ per_group(values, groups, count))

    n = total(np.ones((len(truth), 1)))
    squared = total((predicted - truth) ** 2) / n
    variance = total(centred**2) / n - (total(centred) / n) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        unexplained = np.where(variance > 1e-12 * centred.var(axis=0), squared / variance, np.nan)
    return {"mae": total(np.abs(predicted - truth)) / n, "rmse": np.sqrt(squared), "r2": unexplained}


def _of(errors: dict[str, Floats], kind: str, column: int | None) -> list[float]:
    """(R,) a metric of one quantity, or its mean over all of them."""
    error = errors[kind].mean(axis=1) if column is None else errors[kind][:, column]
    plain: list[float] = (1 - error if kind == "r2" else error).tolist()
    return plain


def _interval(kind: str, value: float, replicates: list[float], degrees: float) -> Interval | None:
    """Symmetric on the log scale of what is positive; None where errors do not vary, which says nothing of the next."""
    error, spread = (1 - value, 1 - np.array(replicates)) if kind == "r2" else (value, np.array(replicates))
    if error <= 0:  # not one sample was off
        return Interval(value, value, "cluster bootstrap")
    with np.errstate(divide="ignore"):
        deviation = bootstrap_error(np.log(spread), degrees)
    if deviation == 0:
        return None
    factor = float(np.exp(t_quantile(degrees) * deviation))
    low, high = error / factor, error * factor
    low, high = (1 - high, 1 - low) if kind == "r2" else (low, high)
    return Interval(low, high, "cluster bootstrap")


def _unvarying(truth: Floats, names: Sequence[str], column: int | None) -> list[str]:
    columns = range(len(names)) if column is None else [column]
    return [names[k] for k in columns if np.ptp(truth[:, k]) == 0]
