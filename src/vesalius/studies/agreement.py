"""How far two runs of one config agree: each number equal, inside the first run's interval, or different."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from vesalius.runs.differences import flatten, to_json

EQUAL, INSIDE, DIFFERENT = "equal", "inside the interval", "different"
_FEW = 20


def compare_metrics(before: Mapping[str, Any], now: Mapping[str, Any]) -> pd.DataFrame:
    """Every metric of two runs.

    Args:
        before: `metrics.json` of the first.
        now: of the second.

    Returns:
        Columns `metric`, `before`, `low`, `high` (the interval of the first), `now`, `verdict`; a row for each metric
        of either. A value that one of them lacks is different; an interval that moved makes an equal value `inside`.
    """
    entries, others = dict(_entries(before)), dict(_entries(now))
    rows = []
    for name in dict.fromkeys([*entries, *others]):
        one, other = entries.get(name, {}), others.get(name, {})
        low, high = one.get("ci95") or (None, None)
        row = {"metric": name, "before": one.get("value"), "low": low, "high": high, "now": other.get("value")}
        rows.append({**row, "verdict": _verdict(one, other)})
    return pd.DataFrame(rows, columns=["metric", "before", "low", "high", "now", "verdict"])


def other_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What else differs in two nested mappings, such as provenance: one sentence per key, with both values."""
    one, other = dict(flatten(_without_entries(before))), dict(flatten(_without_entries(now)))
    keys = [key for key in dict.fromkeys([*one, *other]) if to_json(one.get(key)) != to_json(other.get(key))]
    return [f"{key}: {to_json(one.get(key))} → {to_json(other.get(key))}" for key in keys]


def summarize_agreement(table: pd.DataFrame) -> list[str]:
    """The counts of verdicts, and the numbers that are not equal, the different ones first."""
    counts = table["verdict"].value_counts()
    lines = [", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in (EQUAL, INSIDE, DIFFERENT)) + "."]
    unequal = pd.concat([table[table["verdict"] == verdict] for verdict in (DIFFERENT, INSIDE)])
    for row in unequal.head(_FEW).to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f" [{row['low']:.4g}, {row['high']:.4g}]"
        lines.append(f"  {row['metric']}: {_shown(row['before'])}{interval} → {_shown(row['now'])}: {row['verdict']}")
    return lines if len(unequal) <= _FEW else [*lines, f"  and {len(unequal) - _FEW} more."]


def _verdict(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    if not one or not other:
        return DIFFERENT
    before, now, interval = one.get("value"), other.get("value"), one.get("ci95")
    if before == now and one.get("ci95") == other.get("ci95") and one.get("n") == other.get("n"):
        return EQUAL
    if before is None or now is None:
        return DIFFERENT
    return INSIDE if before == now or (interval and interval[0] <= now <= interval[1]) else DIFFERENT


def _entries(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Metrics by their whole name: mappings with a value and an interval."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            if "value" in value:
                yield f"{prefix}{key}", value
            yield from _entries(value, f"{prefix}{key}/")


def _without_entries(node: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(value, Mapping):
            kept[key] = value
        elif "value" not in value and (inner := _without_entries(value)):
            kept[key] = inner
    return kept


def _shown(value: Any) -> str:
    return "none" if value is None or pd.isna(value) else f"{value:.6g}"
