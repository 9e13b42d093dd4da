"""A model judged several times on the same test patients: by several seeds, or on several draws of the labels.

Of the mean over the repeats, two things are left to chance: which patients are in the test set, which all repeats
share, and which repeats were made. So the interval has two margins, whose squares add (Zou and Donner, Statistics in
Medicine 27:1693, 2008): that of a cluster bootstrap of the mean, whose patients are the same for all repeats, and that
of a t interval over the repeats. Repeats also differ because each is judged on a finite test set. The bootstrap knows
by how much (the spread of a repeat about the mean of the repeats); this variance is taken off the second margin, for
the first holds it already.

Coverage of AUROC, its difference, and that of accuracy, 60 patients of whom half have 2 or 3 images, 400 simulated
studies a case (`pytest -m proof -s tests/evaluation/test_repeated.py`): with 5 repeats 92.0 to 96.5 %, with 3 92.2 to
97.5 %, however much repeats differ. With 2 it falls to 87 % where repeats differ more than patients do: make 3 or more.
Tried and left: one t at Satterthwaite's degrees of freedom (3 repeats, 91 %), and the spread between repeats as it is
(99 % where it is noise of the test set).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError
from vesalius.metrics.comparison.weighted_tables import Floats, Judged, WeightedTables, weighted_tables
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.formatting import format_number
from vesalius.metrics.intervals.clustered import (
    bootstrap_error,
    bootstrap_interval,
    logit_interval,
    t_quantile,
)


def repeated_metric(
    tables: Sequence[pd.DataFrame], *, metric: str, task: Judged, classes: Sequence[str], seed: int = 0
) -> MetricEntry:
    """Mean of a metric over repeats, with an interval over patients and repeats.

    Args:
        tables: predictions of the same samples, one table a repeat, rows in any order; see `weighted_tables`.
        metric: name such as `auroc`, `recall/nodule`, `mae` or, of reconstructions, `psnr`.
        task: what the classes are to each other, or `reconstruction`. Classes are decided by argmax, or by the tables'
            column `threshold`.
        classes: names of the classes or quantities; none for reconstructions.
        seed: of the bootstrap.

    Returns:
        As the entries of `classification_metrics`; `method` tells the number of repeats. One repeat cannot tell what
        another would have come to: its interval counts patients alone. `no_skill` is None for quantities and
        reconstructions, as it would take the training set.

    Raises:
        InputError: for no table, an unknown metric, or tables of different samples, patients or truths.
    """
    judged = weighted_tables(tables, metric=metric, task=task, classes=classes)
    if judged.reason:
        return _missing(judged, judged.no_skill)
    values, replicates = judged.values(), judged.replicates(len(tables), seed)
    value, half = float(values.mean()), _margin(values, replicates, judged.degrees)
    return _entry(judged, value, _interval(judged, value, half, replicates.mean(axis=0)), len(tables), judged.no_skill)


def repeated_difference(
    first: Sequence[pd.DataFrame],
    second: Sequence[pd.DataFrame],
    *,
    metric: str,
    task: Judged,
    classes: Sequence[str],
    seed: int = 0,
) -> MetricEntry:
    """First minus second, paired by patient and by repeat.

    With one table each this is `comparison.paired_difference`.

    Args:
        first: predictions of one model, one table a repeat.
        second: predictions of another for the same samples. Tables at equal places are a pair: of the same seed, or of
            the same draw of labels.
        metric: as in `repeated_metric`.
        task: as in `repeated_metric`.
        classes: as in `repeated_metric`.
        seed: of the bootstrap.

    Returns:
        As `repeated_metric`, with no-skill 0: no difference.

    Raises:
        InputError: as `repeated_metric`; also where one has more tables than the other.
    """
    if len(first) != len(second):
        raise InputError(
            f"The first model has {len(first)} repeats and the second {len(second)}; they are compared pair by pair:"
            " give both the same seeds or draws."
        )
    judged = weighted_tables([*first, *second], metric=metric, task=task, classes=classes)
    if judged.reason:
        return _missing(judged, 0.0)
    count = len(first)
    values, replicates = judged.values(), judged.replicates(count, seed)
    values, replicates = values[:count] - values[count:], replicates[:count] - replicates[count:]
    value, half = float(values.mean()), _margin(values, replicates, judged.degrees_of_all)
    return _entry(judged, value, Interval(value - half, value + half, "paired cluster bootstrap"), count, 0.0)


def verdict(difference: MetricEntry, first: str, second: str, metric: str) -> str:
    """What a difference comes to, in one sentence.

    Args:
        difference: first minus second, as `repeated_difference` or `comparison.paired_difference` gives it.
        first: name of the first model.
        second: name of the second.
        metric: what was compared; of errors such as `mae`, less is better.
    """
    if difference["value"] is None or difference["ci95"] is None:
        return f"No verdict on {metric} of {first} and {second}: {difference.get('reason', 'it was not computed')}."
    value, (low, high) = difference["value"], difference["ci95"]
    if low <= 0 <= high:
        return f"No evidence of a gain: {metric} of {first} minus that of {second} is {_numbers(value, low, high)}."
    more, by = ("higher", (value, low, high)) if value > 0 else ("lower", (-value, -high, -low))
    if (value > 0) != (mode_of(metric) == "min"):
        return f"{first} reaches a {more} {metric} than {second} by {_numbers(*by)}."
    return f"{first} is worse than {second}: its {metric} is {more} by {_numbers(*by)}."


def _numbers(value: float, low: float, high: float) -> str:
    """`.021 [.004, .038]`: equal decimals, more than three where those could not tell the numbers apart."""
    half = (high - low) / 2
    if half >= 0.0005 or half == 0:
        large = max(abs(number) for number in (value, low, high)) >= 1
        told = [format_number(number) if large else _decimals(number, 3) for number in (value, low, high)]
    else:
        told = [_decimals(number, int(1 - np.floor(np.log10(half)))) for number in (value, low, high)]
    return f"{told[0]} [{told[1]}, {told[2]}]"


def _decimals(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".replace("0.", ".", 1) if abs(number) < 1 else f"{number:.{digits}f}"


def _missing(judged: WeightedTables, no_skill: float | None) -> MetricEntry:
    return missing_entry(str(judged.reason), n=len(judged.groups), groups=judged.group_count, no_skill=no_skill)


def _entry(
    judged: WeightedTables, value: float, interval: Interval, repeats: int, no_skill: float | None
) -> MetricEntry:
    if repeats > 1:
        interval = interval._replace(method=f"{interval.method} and {repeats} repeats")
    return metric_entry(value, interval, n=len(judged.groups), groups=judged.group_count, no_skill=no_skill)


def _margin(values: Floats, replicates: Floats, degrees: float) -> float:
    """Half the interval of the mean of (T,) values with (T, R) bootstrap replicates."""
    count, mean = len(values), replicates.mean(axis=0)
    of_patients = t_quantile(degrees) * bootstrap_error(mean, degrees)
    if count == 1:
        return of_patients
    within = sum(bootstrap_error(each - mean, degrees) ** 2 for each in replicates) / (count - 1)
    between = max(0.0, float(values.var(ddof=1)) - within)
    return float(np.hypot(of_patients, t_quantile(count - 1) * np.sqrt(between / count)))


def _interval(judged: WeightedTables, value: float, half: float, replicates: Floats) -> Interval:
    """On the scale that keeps the metric's bounds; `half` is the margin on the metric's own."""
    method, scale = "cluster bootstrap", judged.scale
    if scale.name == "logit":
        if half == 0 or not 0 < value < 1:  # repeats agree wholly, or nothing ever went wrong
            return bootstrap_interval(value, replicates, judged.degrees)
        return Interval(*logit_interval(value, half / t_quantile(judged.degrees), judged.degrees), method)
    if scale.name == "plain":
        return Interval(max(scale.low, value - half), min(scale.high, value + half), method)
    positive = 1 - value if scale.name == "log of 1 - value" else value
    factor = float(np.exp(half / positive)) if positive > 0 else 1.0
    low, high = positive / factor, positive * factor
    return Interval(*((1 - high, 1 - low) if scale.name == "log of 1 - value" else (low, high)), method)
