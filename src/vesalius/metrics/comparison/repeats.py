"""A model evaluated several times on the same test patients: with several seeds, or several draws of the labels.

The mean over the repeats depends on two kinds of chance: which patients are in the test set, which all repeats share,
and which repeats were run. So the interval has two margins, whose squares add (Zou and Donner, Statistics in Medicine
27:1693, 2008): that of a cluster bootstrap of the mean, whose patients are the same for all repeats, and that of a t
interval over the repeats. Repeats also differ because each is evaluated on a finite test set. The bootstrap gives this
part (the spread of a repeat about the mean of the repeats), and the first margin contains it already: its square is
subtracted from that of the second. So repeats that differ only by chance still have their own t interval, which counts
where they are few. Were that variance subtracted before Student's t is applied, two arms of equal skill with two seeds
each would differ in 10 % of studies.

The margin of the patients follows the side with the fewest: a balanced accuracy with 5 positives has 4 degrees of
freedom. A difference of shares (accuracy, recall) has the variance of one more patient on each side, half of which goes
right only with the first model and half only with the second; without it, models that happen to agree on the few
positives differ by 0 [0, 0]. Other metrics have it where no resample differs from another. Below `MIN_PATIENTS` there
is no interval, and so no verdict.

False winners among arms of equal skill, coverage and power: `pytest -m proof -s tests/proofs/test_comparisons.py`; the
coverage of single values: `pytest -m proof -s tests/metrics/comparison/test_repeats.py`. Tried and rejected: one t at
Satterthwaite's degrees of freedom (3 repeats, 91 %), and the spread between repeats without subtraction (99 % where it
is noise of the test set).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.metrics.comparison.resampled_metric import Floats, PredictionTask, ResampledMetric, resampled_metric
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import bootstrap_error, bootstrap_interval, logit_interval, t_quantile
from vesalius.metrics.regression import NO_SPREAD


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
        return _missing(resampled, resampled.no_skill, resampled.reason)
    if len(tables) == 1 and resampled.interval is not None:
        value = float(resampled.scale.bounded(resampled.values())[0])
        return _entry(resampled, value, resampled.interval, 1, resampled.no_skill)
    values, replicates = resampled.values(), resampled.replicates(len(tables), seed)
    if resampled.scale.name == "square":
        value, interval = _root_of_squares(resampled, values, replicates)
        return _entry(resampled, value, interval, len(tables), resampled.no_skill)
    value, margin = float(values.mean()), margin_of_mean(replicates, resampled.degrees, between_repeats(values))
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
    differences: int = 1,
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
        differences: how many are read together, such as those of several models from one: their intervals then hold
            together in 95 % of studies (`t_quantile`), and a single one in more.

    Returns:
        As `repeated_metric`, with no-skill value 0: no difference. Models that predict the same differ by 0 [0, 0].
        The entry is missing below `MIN_PATIENTS`, and where the difference of an error, which has no bounds, is the
        same in all resamples.

    Raises:
        InputError: as `repeated_metric`; also where one has more tables than the other.
    """
    if len(first) != len(second):
        raise InputError(
            f"The first model has {len(first)} repeats and the second {len(second)}; they are compared pair by pair:"
            " give both the same seeds or draws."
        )
    resampled = resampled_metric([*first, *second], metric=metric, task=task, classes=classes)
    found = difference_of(resampled, seed=seed, differences=differences)
    if found["value"] is not None and all(map(_same, first, second)):
        return MetricEntry(**found | {"ci95": [0.0, 0.0]})
    return found


def difference_of(resampled: ResampledMetric, *, seed: int = 0, differences: int = 1) -> MetricEntry:
    """The difference of the first half of 2 T tables from the second; see `repeated_difference`."""
    if reason := resampled.reason or resampled.too_few:
        return _missing(resampled, 0.0, reason)
    bounded = resampled.scale.bounded
    values = bounded(resampled.values())
    count = len(values) // 2
    replicates = bounded(resampled.replicates(count, seed))
    replicates = replicates[:count] - replicates[count:]
    value = float(values[:count].mean() - values[count:].mean())
    spread = bootstrap_error(replicates.mean(axis=0), resampled.degrees) > 0
    bound = resampled.scale.high - resampled.scale.low
    if value != 0 and not spread and not np.isfinite(bound):
        return _missing(resampled, 0.0, NO_SPREAD)
    least = resampled.least_variance(value) if np.isfinite(bound) and (resampled.counts or not spread) else 0.0
    between = between_pairs(values[:count], values[count:], differences)
    margin = margin_of_mean(replicates, resampled.degrees, between, least=least, differences=differences)
    method = f"paired {resampled.method}" + (f", {differences} together" if differences > 1 else "")
    interval = Interval(max(value - margin, -bound), min(value + margin, bound), method)
    return _entry(resampled, value, interval, count, 0.0)


def _same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables of one set of samples hold the same predictions."""
    one, other = (table.sort_values("sample_id", ignore_index=True) for table in (first, second))
    return one.equals(other)


def _missing(resampled: ResampledMetric, no_skill: float | None, reason: str) -> MetricEntry:
    return missing_entry(reason, n=len(resampled.groups), groups=resampled.group_count, no_skill=no_skill)


def _entry(
    resampled: ResampledMetric, value: float, interval: Interval, repeats: int, no_skill: float | None
) -> MetricEntry:
    if repeats > 1:
        interval = interval._replace(method=f"{interval.method} and {repeats} repeats")
    entry = metric_entry(value, interval, n=len(resampled.groups), groups=resampled.group_count, no_skill=no_skill)
    return MetricEntry(**entry, repeats=repeats)


def between_repeats(values: Floats, differences: int = 1) -> float:
    """Square of half the t interval of one repeat, of (T,) values; that of their mean is a T-th part of it."""
    count = len(values)
    return t_quantile(count - 1, differences) ** 2 * float(values.var(ddof=1)) if count > 1 else 0.0


def between_pairs(first: Floats, second: Floats, differences: int = 1) -> float:
    """The same of the difference of two models, (T,) values each.

    Seeds of two models are mostly independent chances, though they share a number: then Welch's t (Biometrika 34:28,
    1947), whose degrees of freedom count the repeats of both models, is narrower. Where the models are shown to rise
    and fall together from repeat to repeat (one-sided 5 % test of their correlation), as over draws of labels, the
    differences of the pairs are taken where they vary less.
    """
    from scipy.special import stdtrit

    count = len(first)
    if count < 2:
        return 0.0
    own, other = float(first.var(ddof=1)), float(second.var(ddof=1))
    if own + other == 0:
        return 0.0
    degrees = (count - 1) * (own + other) ** 2 / (own**2 + other**2)
    welch = t_quantile(degrees, differences) ** 2 * (own + other)
    if count == 2 or own == 0 or other == 0:
        return welch
    correlation = float(np.cov(first, second)[0, 1] / np.sqrt(own * other))
    statistic = correlation * np.sqrt((count - 2) / max(1 - correlation**2, 1e-12))
    return min(welch, between_repeats(first - second, differences)) if statistic > stdtrit(count - 2, 0.95) else welch


def margin_of_mean(
    replicates: Floats, degrees: float, between: float = 0.0, *, least: float = 0.0, differences: int = 1
) -> float:
    """Half the width of the interval of a mean over repeats.

    Args:
        replicates: (T, R) value of each of T repeats in R resamples of the patients.
        degrees: degrees of freedom of the patients.
        between: `between_repeats` or `between_pairs`.
        least: variance of the mean that is added to that of the resamples.
        differences: as in `t_quantile`.
    """
    count, mean = len(replicates), replicates.mean(axis=0)
    of_patients = t_quantile(degrees, differences) ** 2
    squared = of_patients * (bootstrap_error(mean, degrees) ** 2 + least)
    if count > 1:
        within = sum(bootstrap_error(each - mean, degrees) ** 2 for each in replicates) / (count - 1)
        squared += max(0.0, between - of_patients * within) / count
    return float(np.sqrt(squared))


def _root_of_squares(resampled: ResampledMetric, values: Floats, replicates: Floats) -> tuple[float, Interval]:
    """Mean of (T,) values within the metric's bounds, and its interval, by the mean square, which has no bias at 0."""
    scale = resampled.scale
    squares = scale.transform(values)
    margin = margin_of_mean(scale.transform(replicates), resampled.degrees, between_repeats(squares))
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
