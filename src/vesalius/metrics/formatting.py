"""Numbers as text: each with its interval and its no-skill value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vesalius.metrics.entry import value_and_ends

if TYPE_CHECKING:
    import pandas as pd

#: Arms of `evidence` that always count all classes (`evaluation.ablation_classes` narrows the others).
ALL_CLASSES = ("without_duplicates",)

#: How a formula begins in some spreadsheet.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_SHARES = {
    "training_nearest": "share nearest to a training image and not to a held-out one",
    "closest": "among the closest tenth",
}


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file for people: a text that a spreadsheet would run as a formula gets `'` in front of it.

    Numbers, also as text, stay as they are.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def csv_table(table: "pd.DataFrame") -> str:
    """A table as CSV for people; see `csv_cell`."""
    return table.rename(columns=csv_cell).map(csv_cell).to_csv(index=False)


def format_metric(entry: Mapping[str, Any]) -> str:
    """`.912 [.871,.953]`, or a dash for a number that is missing."""
    known = value_and_ends(entry)
    if known is None:
        return "–"
    value, low, high = map(format_number, known)
    return f"{value} [{low},{high}]"


def format_with_no_skill(entry: Mapping[str, Any]) -> str:
    """`.912 [.871,.953] (no skill .500)`, for text without a column of no-skill values."""
    text, no_skill = format_metric(entry), entry.get("no_skill")
    return text if text == "–" or no_skill is None else f"{text} (no skill {format_number(no_skill)})"


def format_number(value: float | None) -> str:
    """Four characters for most numbers, as journals print them: `.912`, `1.00`, `27.4`; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.{3 if value == 0 or abs(value) >= 0.01 else 4}f}"
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-0."):
        return f"-{text[2:]}"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def describe_extractor(metrics: Mapping[str, Any]) -> str | None:
    """The features in which images were compared, as a sentence; None where none were."""
    extractor = metrics.get("extractor")
    if not isinstance(extractor, Mapping):  # of an autoencoder it is the hash of its own encoder
        return None
    name, layer, dim = extractor["name"], extractor["layer"], extractor["dim"]
    return f"Images are compared by {dim} features: {name}, {layer} (weights {extractor['hash']})."


def summarize_synthetic_images(metrics: Mapping[str, Any]) -> list[str]:
    """Whether a classifier separates synthetic images from real ones, and whether they are copies, one line each."""
    lines = []
    if entry := metrics.get("two_sample"):
        auroc = f"auroc {format_with_no_skill(entry)}"
        lines.append(f"synthetic or real, by a linear classifier: {_or_reason(entry, auroc)}; {_counts(entry)}")
    if entry := metrics.get("memorisation"):
        parts = [_with_p_value(entry)]
        parts += [f"{words} {_with_p_value(entry[key])}" for key, words in _SHARES.items() if key in entry]
        parts.append("flagged: nearer to training images than by chance" if entry["flagged"] else "not flagged")
        numbers = _or_reason(entry, "; ".join(parts))
        line = f"synthetic images nearer to training images than real ones are: {numbers}; {_counts(entry)}"
        lines.append(f"{line}, {entry['train']} training images")
    return lines


def _with_p_value(entry: Mapping[str, Any]) -> str:
    p_value = entry["p_value"]
    p = "–" if p_value is None else "< .001" if p_value < 0.001 else f"= {format_number(p_value)}"
    return f"{format_metric(entry)} (without copying {format_number(entry['no_skill'])}), p {p}"


def _or_reason(entry: Mapping[str, Any], text: str) -> str:
    return text if entry["value"] is not None else f"– ({entry.get('reason', 'not computed')})"


def _counts(entry: Mapping[str, Any]) -> str:
    return f"{entry['synthetic']} synthetic and {entry['n']} real images of {entry['groups']} patients"
