"""Final numbers of a regression, computed from nothing but its predictions table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.groups import effective_groups, number_groups, sum_by_group
from vesalius.metrics.intervals.clustered import Floats, bootstrap_error, bootstrap_weights, t_quantile
from vesalius.metrics.names import REGRESSION_METRICS
from vesalius.metrics.predictions import number_problems, sample_problems

NO_SPREAD = "the error is the same in all resamples of the patients: no interval over patients"
# Patients that a metric's interval needs: a resample of two that draws one twice has nothing for `r2` to explain.
_FEWEST_PATIENTS = {"mae": 2, "rmse": 2, "r2": 3}


def regression_metrics(
    predictions: pd.DataFrame, *, names: Sequence[str], no_skill: Sequence[float], seed: int = 0
) -> dict[str, MetricEntry]:
    """Every error with its 95 % interval over patients and its no-skill value.

    `mae` (mean absolute error) and `rmse` (root mean squared error) are in the units of the target, `r2` is the
    coefficient of determination, 1 - squared error / variance about the mean of these very samples: 1 is perfect, and
    below 0 that mean would have been the better prediction. Each comes per target, as `mae/time_to_peak`, and overall,
    as the mean over targets.

    The interval is a cluster bootstrap's: patients are resampled, and the spread of the logarithm of `mae`, `rmse` and
    1 - `r2`, all of which are positive and skewed, is used with Student's t. Coverage over 600 simulated sets with
    normal errors (`pytest -m proof -s tests/metrics/test_regression.py`), of `mae`, `rmse` and `r2`: 94.3, 93.5 and
    93.7 % with 60 patients, 94.0, 91.8 and 94.2 % with 20, no less with several samples per patient. Where the errors
    of some patients are much larger than those of others, it falls to about 90 % for `rmse`.

    Args:
        predictions: `sample_id`, `group_id`, `target/<name>` and `pred/<name>` for each target, rows in any order.
        names: the continuous targets.
        no_skill: mean of each target over the *training* samples; `no_skill` of a metric is the error of always
            predicting it.
        seed: of the bootstrap.

    Returns:
        Entries by name, in the order to show them. A metric that cannot be computed, or has no interval, has value and
        interval None and a `reason`: with one patient, `r2` with two, and where the error is the same in all resamples
        of the patients.

    Raises:
        InputError: for a table that lacks columns, rows or numbers.
    """
    check_regression(predictions, names)
    truth, predicted, groups = read_regression(predictions, names)
    count = int(groups.max()) + 1
    constant = np.tile(np.asarray(no_skill, dtype=np.float64), (len(truth), 1))
    once = np.ones((1, count))
    values = weighted_errors(truth, predicted, groups, once)
    constant_errors = weighted_errors(truth, constant, groups, once)
    replicates = weighted_errors(truth, predicted, groups, bootstrap_weights(count, truth.size, seed))
    degrees = effective_groups(np.ones(len(groups), dtype=np.bool_), groups) - 1
    metrics: dict[str, MetricEntry] = {}
    for column in (None, *range(len(names))):
        for kind in REGRESSION_METRICS:
            constants = _constant_targets(truth, names, column) if kind == "r2" else []
            value = _column(values, kind, column)[0]
            reference = None if constants else _column(constant_errors, kind, column)[0]
            reason = f"all samples have the same {', '.join(constants)}: nothing to explain" if constants else None
            reason = reason or why_too_few(kind, count)
            interval = None if reason else _interval(kind, value, _column(replicates, kind, column), degrees)
            if interval is None:
                entry = missing_entry(reason or NO_SPREAD, n=len(truth), groups=count, no_skill=reference)
            else:
                entry = metric_entry(value, interval, n=len(truth), groups=count, no_skill=reference)
            metrics[kind if column is None else f"{kind}/{names[column]}"] = entry
    return metrics


def why_too_few(metric: str, patients: int) -> str | None:
    """Why a metric has no interval with so few patients; None where they suffice."""
    if patients >= _FEWEST_PATIENTS[metric]:
        return None
    return f"{'one patient' if patients == 1 else f'{patients} patients'} only: no interval over patients"


def check_regression(table: pd.DataFrame, names: Sequence[str], name: str = "predictions") -> None:
    """Refuse a predictions table of continuous targets whose metrics would be meaningless.

    Raises:
        InputError: every problem found, with the column and the number of rows.
    """
    columns = [f"{kind}/{target}" for target in names for kind in ("target", "pred")]
    problems = sample_problems(table, columns, name, f"a regression of {', '.join(names)} needs it")
    problems += number_problems(table, columns, name, "correct or leave out those rows")
    if problems:
        raise InputError(problems)


def read_regression(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(N, K) truth, (N, K) predictions and (N,) number of each sample's patient."""
    truth, predicted = (table[[f"{kind}/{name}" for name in names]].to_numpy(np.float64) for kind in ("target", "pred"))
    return truth, predicted, number_groups(table["group_id"])


def weighted_errors(truth: Floats, predicted: Floats, groups: NDArray[np.int64], weights: Floats) -> dict[str, Floats]:
    """Each error (R, K), by name, for R weightings (R, G) of the patients; NaN where undefined.

    `r2` is here 1 - R², which is positive.
    """
    count = weights.shape[1]
    centred = truth - truth.mean(axis=0)  # squares of large values would lose their small differences

    def total(values: Floats) -> Floats:
        return np.asarray(weights @ sum_by_group(values, groups, count))

    n = total(np.ones((len(truth), 1)))
    squared = total((predicted - truth) ** 2) / n
    variance = total(centred**2) / n - (total(centred) / n) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        unexplained = np.where(variance > 1e-12 * centred.var(axis=0), squared / variance, np.nan)
    return {"mae": total(np.abs(predicted - truth)) / n, "rmse": np.sqrt(squared), "r2": unexplained}


def _column(errors: dict[str, Floats], kind: str, column: int | None) -> list[float]:
    """(R,) a metric of one target, or its mean over all of them."""
    error = errors[kind].mean(axis=1) if column is None else errors[kind][:, column]
    plain: list[float] = (1 - error if kind == "r2" else error).tolist()
    return plain


def _interval(kind: str, value: float, replicates: list[float], degrees: float) -> Interval | None:
    """Symmetric on the log scale of what is positive; None where the error does not vary, which shows no spread."""
    error, spread = (1 - value, 1 - np.array(replicates)) if kind == "r2" else (value, np.array(replicates))
    if error <= 0:  # all predictions are exact
        return Interval(value, value, "cluster bootstrap")
    with np.errstate(divide="ignore"):
        deviation = bootstrap_error(np.log(spread), degrees)
    if deviation == 0:
        return None
    factor = float(np.exp(t_quantile(degrees) * deviation))
    low, high = error / factor, error * factor
    return Interval(*((1 - high, 1 - low) if kind == "r2" else (low, high)), "cluster bootstrap")


def _constant_targets(truth: Floats, names: Sequence[str], column: int | None) -> list[str]:
    columns = range(len(names)) if column is None else [column]
    return [names[k] for k in columns if np.ptp(truth[:, k]) == 0]
