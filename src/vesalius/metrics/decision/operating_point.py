"""What a binary classifier's threshold comes to: sensitivity and specificity, and predictive values at a prevalence.

Of a positive result, the odds that it is right are the likelihood ratio, sensitivity / (1 - specificity), times the
odds of the prevalence (Bayes). A test set rarely has the prevalence of the place where a model is used, so predictive
values are computed for a stated one. Their interval is that of the ratio of two shares, from the intervals of each
(MOVER on the log scale: Zou and Donner, Stat Med 27:1693, 2008), which count patients.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry, value_and_ends

#: Value, low and high end of a share.
Share = tuple[float, float, float]


def rates_of(metrics: Mapping[str, MetricEntry], positive: str) -> dict[str, MetricEntry]:
    """`sensitivity` and `specificity`.

    Args:
        metrics: `classification_metrics` at a threshold, of a binary task.
        positive: name of class 1.
    """
    return {"sensitivity": metrics[f"recall/{positive}"], "specificity": metrics[f"specificity/{positive}"]}


def rate_differences(test: Mapping[str, MetricEntry], val: Mapping[str, MetricEntry]) -> dict[str, MetricEntry]:
    """Test minus validation, of `sensitivity` and `specificity`: whether a threshold carries over.

    A threshold that keeps .95 of 40 patients does so only about on others, and 40 test patients show it only about. The
    interval counts both (of independent shares, from those of each: Newcombe, Stat Med 17:873, 1998, method 10). A rate
    that is lower by more than that has a note.
    """
    differences: dict[str, MetricEntry] = {}
    for name in ("sensitivity", "specificity"):
        counts = {key: test[name][key] + val[name][key] for key in ("n", "groups")}
        known, before = value_and_ends(test[name]), value_and_ends(val[name])
        if known is None or before is None:
            differences[name] = missing_entry(f"no {name} of both splits", no_skill=0.0, **counts)
            continue
        (t, t_low, t_high), (v, v_low, v_high) = known, before
        low, high = t - v - np.hypot(t - t_low, v_high - v), t - v + np.hypot(t_high - t, v - v_low)
        entry = metric_entry(t - v, Interval(low, high, "MOVER of cluster-adjusted Wilson"), no_skill=0.0, **counts)
        if high < 0:
            entry["note"] = "lower than on validation: the threshold does not carry over"
        differences[name] = entry
    return differences


def predictive_values(
    rates: Mapping[str, MetricEntry], prevalence: float, *, n: int, groups: int
) -> dict[str, MetricEntry]:
    """`ppv` and `npv`: how often a positive, and a negative, result is right.

    Args:
        rates: `sensitivity` and `specificity`.
        prevalence: share of samples that are positive; at 0 and 1 there is no value but the reason.
        n: number of samples that the rates rest on.
        groups: number of their patients.

    Returns:
        Entries whose no-skill value is the share of positives, and of negatives. Where nothing is predicted positive
        (negative), `ppv` (`npv`) has no value but the reason.
    """
    known = [value_and_ends(rates[name]) for name in ("sensitivity", "specificity")]
    counts: dict[str, Any] = {"n": n, "groups": groups}
    if known[0] is None or known[1] is None:
        reason = "no sensitivity and specificity to compute it from"
        return {name: missing_entry(reason, **counts) for name in ("ppv", "npv")}
    if not 0 < prevalence < 1:
        reason = f"a prevalence of {prevalence:g}, at which every sample has the same class"
        return {name: missing_entry(reason, **counts) for name in ("ppv", "npv")}
    odds = prevalence / (1 - prevalence)
    sensitivity, specificity = known[0], known[1]
    return {
        "ppv": _of_odds(sensitivity, _complement(specificity), odds, "positive", prevalence, counts),
        "npv": _of_odds(specificity, _complement(sensitivity), 1 / odds, "negative", 1 - prevalence, counts),
    }


def _complement(share: Share) -> Share:
    value, low, high = share
    return 1 - value, 1 - high, 1 - low


def _of_odds(
    right: Share, wrong: Share, odds: float, result: str, no_skill: float, counts: Mapping[str, Any]
) -> MetricEntry:
    if right[0] == 0 and wrong[0] == 0:
        return missing_entry(f"no sample was predicted {result}", no_skill=no_skill, **counts)
    low, high = ratio_interval(right, wrong)
    value = right[0] * odds / (right[0] * odds + wrong[0])
    ends = [1.0 if np.isinf(ratio) else ratio * odds / (ratio * odds + 1) for ratio in (low, high)]
    interval = Interval(ends[0], ends[1], "Bayes, MOVER of cluster-adjusted Wilson")
    return metric_entry(value, interval, no_skill=no_skill, **counts)


def ratio_interval(above: Share, below: Share) -> tuple[float, float]:
    """95 % interval of the ratio of two independent shares, of which not both are 0; infinite where `below` may be 0.

    Shares of the same patients are alike in the same direction, which makes their ratio vary less: taken for
    independent, they give the wider interval.
    """
    a, a_low, a_high = above
    b, b_low, b_high = below
    if b == 0:
        return a_low / b_high, np.inf
    if a == 0:
        return 0.0, a_high / b_low if b_low > 0 else np.inf
    with np.errstate(divide="ignore"):
        down = np.hypot(np.log(a) - np.log(a_low), np.log(b_high) - np.log(b))
        up = np.hypot(np.log(a_high) - np.log(a), np.log(b) - np.log(b_low))
    return float(a / b * np.exp(-down)), float(a / b * np.exp(up))
