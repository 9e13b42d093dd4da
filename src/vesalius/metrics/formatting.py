"""Numbers as text: no number without its interval and its no-skill value."""

from collections.abc import Mapping
from typing import Any

#: Arms of the evidence that are never narrowed to some classes.
ALL_CLASSES = ("without_duplicates",)


def format_metric(metric: Mapping[str, Any]) -> str:
    """`.912 [.871, .953]`, or a dash for a number that is absent."""
    if metric["value"] is None or metric["ci95"] is None:
        return "–"
    low, high = metric["ci95"]
    return f"{format_number(metric['value'])} [{format_number(low)},{format_number(high)}]"


def format_beside_no_skill(metric: Mapping[str, Any]) -> str:
    """`.912 [.871, .953] (no skill .500)`, for where there is no column of no-skill values."""
    told, floor = format_metric(metric), metric.get("no_skill")
    return told if told == "–" or floor is None else f"{told} (no skill {format_number(floor)})"


def format_number(value: float | None) -> str:
    """Four characters for most numbers, as journals print them: `.912`, `1.00`, `27.4`."""
    if value is None:
        return "–"
    text = f"{value:.{3 if value == 0 or abs(value) >= 0.01 else 4}f}"
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-0."):
        return f"-{text[2:]}"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def features_of(metrics: Mapping[str, Any]) -> str | None:
    """In which features images were compared, as a sentence; None where none were."""
    extractor = metrics.get("extractor")
    if not isinstance(extractor, Mapping):  # of an autoencoder it is the hash of its own encoder
        return None
    where = f"{extractor['name']}, {extractor['layer']}, {extractor['dim']} dimensions (weights {extractor['hash']})"
    return f"In features of {where}."


def told_of_made_images(metrics: Mapping[str, Any]) -> list[str]:
    """Whether made images are told from real ones, and whether any were copied, a line each."""
    lines = []
    if told := metrics.get("two_sample"):
        found = f"auroc {format_metric(told)} (no skill {format_number(told['no_skill'])})"
        lines.append(f"made or real, by a linear classifier: {_or_reason(told, found)}; {_counts(told)}")
    if told := metrics.get("memorisation"):
        parts = [_beside(told, "no copying")]
        parts += [f"{words} {_beside(told[key], 'no copying')}" for key, words in _NEAREST.items() if key in told]
        word = "flagged: nearer to training images than chance makes them" if told["flagged"] else "not flagged"
        lines.append(f"made images nearer to training than real ones: {_or_reason(told, '; '.join([*parts, word]))}")
        lines[-1] += f"; {_counts(told)}, {told['train']} of training"
    return lines


_NEAREST = {
    "training_nearest": "nearest to a training image and not to a held-out one",
    "closest": "of the closest tenth",
}


def _beside(told: Mapping[str, Any], what: str) -> str:
    return f"{format_metric(told)} ({what} {format_number(told['no_skill'])}), p {_p(told['p_value'])}"


def _or_reason(told: Mapping[str, Any], found: str) -> str:
    return found if told["value"] is not None else f"– ({told.get('reason', 'not computed')})"


def _counts(told: Mapping[str, Any]) -> str:
    return f"{told['synthetic']} made and {told['n']} real images of {told['groups']} patients"


def _p(value: float | None) -> str:
    return "–" if value is None else "< .001" if value < 0.001 else f"= {format_number(value)}"
