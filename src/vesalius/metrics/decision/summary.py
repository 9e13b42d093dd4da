"""The parts of `metrics.json` on decisions, as a few sentences for the console and the report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vesalius.metrics.formatting import format_metric, format_number, format_with_no_skill

_HALF = 0.5


def summarize_decision(metrics: Mapping[str, Any]) -> list[str]:
    """One line each on calibration, operating point, prediction sets, abstention and net benefit, as far as a run has
    them, and on labels that seem to be exchanged.

    Args:
        metrics: the content of `metrics.json`.
    """
    lines = [*_calibration(metrics), *_operating_point(metrics), *_sets(metrics), *_abstention(metrics)]
    return [*lines, *_net_benefit(metrics), *_prior_shift(metrics), *_notes(metrics)]


def _calibration(metrics: Mapping[str, Any]) -> Iterable[str]:
    entry = metrics.get("calibration")
    if not entry or "test" not in entry:
        return
    how = f"temperature {format_number(entry['temperature'])}" if "temperature" in entry else "a slope per label"
    before, after = metrics.get("test") or {}, entry["test"]
    changes = [
        f"{name} {format_metric(before[name])} → {format_metric(after[name])}"
        for name in ("ece", "brier")
        if name in before and name in after
    ]
    yield f"calibrated on validation ({how}): test {', '.join(changes)}"
    if "note" in entry:
        yield f"calibration: {entry['note']}"


def _operating_point(metrics: Mapping[str, Any]) -> Iterable[str]:
    entry = metrics.get("operating_point")
    if not entry or "test" not in entry:
        return
    val, test = entry["val"], entry["test"]
    rates = [
        f"{name} {format_metric(test[name])} (validation {format_metric(val[name])})"
        for name in ("sensitivity", "specificity")
    ]
    yield f"{entry['class']} from {format_number(entry['threshold'])} ({entry['rule']}): test {', '.join(rates)}"
    if "note" in entry:
        yield f"{entry['rule']}: {entry['note']}"
    values = ", ".join(f"{name.upper()} {format_with_no_skill(test[name])}" for name in ("ppv", "npv"))
    yield f"at a prevalence of {format_number(entry['prevalence'])}: {values}"
    for name, rate in (entry.get("difference") or {}).items():
        if "note" in rate:
            yield f"{name} {format_metric(rate)} {rate['note']}"


def _sets(metrics: Mapping[str, Any]) -> Iterable[str]:
    entry = metrics.get("conformal")
    if not entry or "test" not in entry:
        return
    test, each = entry["test"], " of each class" if entry["by_class"] else ""
    cover = f"{entry['coverage']:.0%} prediction sets{each} cover {format_metric(test['coverage'])} of test patients"
    yield f"{cover}, with {format_with_no_skill(test['set_size'])} classes each"


def _abstention(metrics: Mapping[str, Any]) -> Iterable[str]:
    entry = metrics.get("abstention")
    if not entry or not entry["kept"]:
        return
    at = int(np.abs(np.array(entry["kept"]) - _HALF).argmin())
    kept, whole = (_of_curve(entry["accuracy"], place) for place in (at, 0))
    if (cut := metrics.get("abstain")) and "test" in cut:
        coverage, accuracy = (format_metric(cut["test"][name]) for name in ("coverage", "accuracy"))
        yield f"leaves the least sure to a person: keeps {coverage} of test samples, accuracy of these {accuracy}"
    yield f"accuracy of the surest {entry['kept'][at]:.0%}: {format_metric(kept)}, of all {format_metric(whole)}"


def _of_curve(curve: Mapping[str, Sequence[float]], place: int) -> dict[str, Any]:
    return {"value": curve["value"][place], "ci95": [curve["low"][place], curve["high"][place]]}


def _net_benefit(metrics: Mapping[str, Any]) -> Iterable[str]:
    curves = metrics.get("decision_curve")
    if not curves:
        return
    useful = {name: _ranges(curve["useful"], curve["thresholds"]) for name, curve in curves.items()}
    shown = ", ".join(f"{name} {text}" if len(useful) > 1 else text for name, text in useful.items() if text)
    yield f"net benefit above treating all and none at thresholds: {shown or 'none shown'}"


def _ranges(useful: Sequence[float], thresholds: Sequence[float]) -> str:
    """Neighbouring thresholds as ranges: `.050 to .200 and .300`."""
    places = [thresholds.index(value) for value in useful if value in thresholds]
    starts = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    parts = [
        format_number(thresholds[a]) if a == b else f"{format_number(thresholds[a])} to {format_number(thresholds[b])}"
        for a, b in zip(starts, ends, strict=True)
    ]
    return " and ".join(parts)


def _prior_shift(metrics: Mapping[str, Any]) -> Iterable[str]:
    entry = metrics.get("prior_shift")
    if not entry:
        return
    shares = ", ".join(
        f"{name} {format_metric(share)} (validation {format_number(share['no_skill'])})"
        for name, share in entry["priors"].items()
    )
    yield f"classes as frequent as the probabilities make likely: {shares}"
    yield f"corrected for it: ece {format_metric(entry['test']['ece'])}, brier {format_metric(entry['test']['brier'])}"


def _notes(metrics: Mapping[str, Any]) -> Iterable[str]:
    by_note: dict[str, list[str]] = {}
    for name, entry in (metrics.get("test") or {}).items():
        if "note" in entry:
            by_note.setdefault(str(entry["note"]), []).append(f"{name} {format_metric(entry)}")
    yield from (f"{', '.join(noted)}: {note}" for note, noted in by_note.items())
