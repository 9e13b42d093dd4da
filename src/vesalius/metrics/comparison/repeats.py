"""A model evaluated several times on the same test patients: with several seeds, or several draws of the labels.

The mean over the repeats depends on two kinds of chance: which patients are in the test set, which all repeats share,
and which repeats were run. So the interval has two margins, whose squares add (Zou and Donner, Statistics in Medicine
27:1693, 2008): that of a cluster bootstrap of the mean, whose patients are the same for all repeats, and that of a t
interval over the repeats. Repeats also differ because each is evaluated on a finite test set. The bootstrap gives this
part (the spread of a repeat about the mean of the repeats); its variance is subtracted from the second margin, because
the first contains it already.

Coverage of AUROC, its difference, and that of accuracy, 60 patients of whom half have 2 or 3 images, 400 simulated
studies per case (`pytest -m proof -s tests/metrics/comparison/test_repeats.py`): with 5 repeats 92.0 to 96.5 %, with 3
92.2 to 97.5 %, however much repeats differ. With 2 it falls to 87 % where repeats differ more than patients do: run 3
or more. Tried and rejected: one t at Satterthwaite's degrees of freedom (3 repeats, 91 %), and the spread between
repeats without subtraction (99 % where it is noise of the test set).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.metrics.comparison.resampled_metric import Floats, PredictionTask, ResampledMetric, resampled_metric
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import bootstrap_error, bootstrap_interval, logit_interval, t_quantile


def repeated_metric(
    tables: Sequence[pd.DataFrame], *, metric: str, task: PredictionTask, classes: Sequence[str], seed: int = 0
) -> MetricEntry:
    """Mean of a metric over repeats, with an interval over patients and repeats.

    Args:
        tables: predictions of the same samples, one table per repeat, rows in any order; see `resampled_metric`.
        metric: name such as `auroc`, `recall/nodule`, `mae` or, of reconstructions, `psnr`.
        task: how classes relate to a sample, or `reconstruction`. Classes are decided by argmax, or by the tables'
            column `threshold`.
        classes: names of the classes or continuous targets; none for reconstructions.
        seed: of the bootstrap.

    Returns:
        An entry whose `method` names the number of repeats. The interval of a single repeat covers only the choice of
        patients, not that of the repeat. `no_skill` is None for regressions and reconstructions, as it depends on the
        training set.

    Raises:
        InputError: for no table, an unknown metric, or tables of different samples, patients or truths.
    """
    resampled = resampled_metric(tables, metric=metric, task=task, classes=classes)
    if resampled.reason:
        return _missing(resampled, resampled.no_skill)
    if len(tables) == 1 and resampled.interval is not None:
        return _entry(resampled, float(resampled.values()[0]), resampled.interval, 1, resampled.no_skill)
    values, replicates = resampled.values(), resampled.replicates(len(tables), seed)
    if resampled.scale.name == "square":
        value, interval = _root_of_squares(resampled, values, replicates)
        return _entry(resampled, value, interval, len(tables), resampled.no_skill)
    value, margin = float(values.mean()), _margin(values, replicates, resampled.degrees)
    interval = _interval(resampled, value, margin, replicates.mean(axis=0))
    return _entry(resampled, value, interval, len(tables), resampled.no_skill)


def repeated_difference(
    first: Sequence[pd.DataFrame],
    second: Sequence[pd.DataFrame],
    *,
    metric: str,
    task: PredictionTask,
    classes: Sequence[str],
    seed: int = 0,
) -> MetricEntry:
    """First minus second, paired by patient and by repeat.

    Both models are evaluated on the same resampled patients, so what makes a case hard for both cancels out; that two
    intervals of single models overlap does not show that the models are equal.

    Args:
        first: predictions of one model, one table per repeat.
        second: predictions of another for the same samples. Tables at equal places are a pair: of the same seed, or of
            the same draw of labels.
        metric: as in `repeated_metric`.
        task: as in `repeated_metric`.
        classes: as in `repeated_metric`.
        seed: of the bootstrap.

    Returns:
        As `repeated_metric`, with no-skill value 0: no difference.

    Raises:
        InputError: as `repeated_metric`; also where one has more tables than the other.
    """
    if len(first) != len(second):
        raise InputError(
            f"The first model has {len(first)} repeats and the second {len(second)}; they are compared pair by pair:"
            " give both the same seeds or draws."
        )
    resampled = resampled_metric([*first, *second], metric=metric, task=task, classes=classes)
    if resampled.reason:
        return _missing(resampled, 0.0)
    count = len(first)
    bounded = resampled.scale.bounded
    values, replicates = bounded(resampled.values()), bounded(resampled.replicates(count, seed))
    values, replicates = values[:count] - values[count:], replicates[:count] - replicates[count:]
    value, margin = float(values.mean()), _margin(values, replicates, resampled.degrees_of_difference)
    interval = Interval(value - margin, value + margin, f"paired {resampled.method}")
    return _entry(resampled, value, interval, count, 0.0)


def _missing(resampled: ResampledMetric, no_skill: float | None) -> MetricEntry:
    reason = str(resampled.reason)
    return missing_entry(reason, n=len(resampled.groups), groups=resampled.group_count, no_skill=no_skill)


def _entry(
    resampled: ResampledMetric, value: float, interval: Interval, repeats: int, no_skill: float | None
) -> MetricEntry:
    if repeats > 1:
        interval = interval._replace(method=f"{interval.method} and {repeats} repeats")
    return metric_entry(value, interval, n=len(resampled.groups), groups=resampled.group_count, no_skill=no_skill)


def _margin(values: Floats, replicates: Floats, degrees: float) -> float:
    """Half the width of the interval of the mean of (T,) values with (T, R) bootstrap replicates."""
    count, mean = len(values), replicates.mean(axis=0)
    of_patients = t_quantile(degrees) * bootstrap_error(mean, degrees)
    if count == 1:
        return of_patients
    within = sum(bootstrap_error(each - mean, degrees) ** 2 for each in replicates) / (count - 1)
    between = max(0.0, float(values.var(ddof=1)) - within)
    return float(np.hypot(of_patients, t_quantile(count - 1) * np.sqrt(between / count)))


def _root_of_squares(resampled: ResampledMetric, values: Floats, replicates: Floats) -> tuple[float, Interval]:
    """Mean of (T,) values within the metric's bounds, and its interval, by the mean square, which has no bias at 0."""
    scale = resampled.scale
    squares = scale.transform(values)
    margin = _margin(squares, scale.transform(replicates), resampled.degrees)
    value = float(scale.bounded(values).mean())
    low, high = scale.inverse(squares.mean() + np.array([-margin, margin]))
    return value, Interval(float(min(low, value)), float(max(high, value)), "cluster bootstrap of the square")


def _interval(resampled: ResampledMetric, value: float, margin: float, replicates: Floats) -> Interval:
    """On the scale that keeps the metric's bounds; `margin` is half its width on the metric's own scale."""
    method, scale = resampled.method, resampled.scale
    if scale.name == "logit":
        if margin == 0 or not 0 < value < 1:  # repeats agree wholly, or there was no error at all
            return bootstrap_interval(value, replicates, resampled.degrees)._replace(method=method)
        return Interval(*logit_interval(value, margin / t_quantile(resampled.degrees), resampled.degrees), method)
    if scale.name == "plain":
        return Interval(max(scale.low, value - margin), min(scale.high, value + margin), method)
    positive = 1 - value if scale.name == "log of 1 - value" else value
    factor = float(np.exp(margin / positive)) if positive > 0 else 1.0
    low, high = positive / factor, positive * factor
    return Interval(*((1 - high, 1 - low) if scale.name == "log of 1 - value" else (low, high)), method)
