"""One number of `metrics.json`: its value, its interval, and what would be reached without skill."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np


class Interval(NamedTuple):
    """A 95 % interval and the name of its method."""

    low: float
    high: float
    method: str


class MetricEntry(TypedDict):
    """A metric as `metrics.json` holds it: a plain dictionary, its keys in the order in which they are written.

    Attributes:
        value: the metric; None where it cannot be computed.
        ci95: low and high end of its 95 % interval; None where there is none.
        n: number of samples (images, series) that the value rests on.
        groups: number of their patients.
        method: of the interval; `none` without one.
        no_skill: value reached without skill, such as .5 for an AUROC; None where it is unknown.
        synthetic: number of synthetic images, where they are compared with the `n` real ones.
        reason: why the value or its interval is missing.
        note: remark for the reader of a table, without a full stop.
        repeats: number of models (seeds) or draws of labels that a mean, or each side of a difference, rests on.
        components: number of principal components, of a baseline that chooses it.
    """

    value: float | None
    ci95: list[float] | None
    n: int
    groups: int
    method: str
    no_skill: float | None
    synthetic: NotRequired[int]
    reason: NotRequired[str]
    note: NotRequired[str]
    repeats: NotRequired[int]
    components: NotRequired[int]


def metric_entry(value: float, interval: Interval, *, n: int, groups: int, no_skill: float | None) -> MetricEntry:
    """The entry of a metric that was computed; parameters as the keys of `MetricEntry`."""
    return {
        "value": float(value),
        "ci95": [float(interval.low), float(interval.high)],
        "n": n,
        "groups": groups,
        "method": interval.method,
        "no_skill": no_skill,
    }


def missing_entry(reason: str, *, n: int = 0, groups: int = 0, no_skill: float | None = None) -> MetricEntry:
    """The entry of a metric that cannot be computed, or has no interval, with the reason."""
    return {
        "value": None,
        "ci95": None,
        "n": n,
        "groups": groups,
        "method": "none",
        "no_skill": no_skill,
        "reason": reason,
    }


def value_and_ends(entry: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Value, low and high end of the interval of an entry; None where any is missing: it is not to be shown then."""
    if entry["value"] is None or entry["ci95"] is None:
        return None
    low, high = entry["ci95"]
    return entry["value"], low, high


def mean_no_skill(entries: Iterable[Mapping[str, Any]]) -> float | None:
    """Mean no-skill value of entries; None where that of any is unknown."""
    values = [entry["no_skill"] for entry in entries]
    return None if None in values else float(np.mean(values))
