"""The numbers of a run as tables of its model card: every metric, and every curve, with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vesalius.metrics.formatting import format_metric, format_number

_BAND = ("value", "low", "high")


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        titles: of the columns.
        rows: the cells.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


def result_tables(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Table]]:
    """A table for each mapping of `metrics.json` that holds metrics or curves, by where it stands; test first."""
    for name in sorted(metrics, key=lambda name: name != "test"):
        if isinstance(metrics[name], Mapping):
            yield from _tables(metrics[name], str(name))


def _tables(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Table]]:
    entries = {name: one for name, one in node.items() if _is_metric(one)}
    curve = None if entries else _curve(node)
    if curve is not None:
        yield path, curve
        return
    if _is_metric(node):  # a single number in the place of several
        yield path, _metrics({path.rpartition(" / ")[2]: node})
        return
    if entries:
        yield path, _metrics(entries)
    for name, child in node.items():
        if isinstance(child, Mapping) and name not in entries:
            yield from _tables(child, f"{path} / {name}")


def _is_metric(node: Any) -> bool:
    return isinstance(node, Mapping) and {"value", "ci95"} <= node.keys()


def _metrics(entries: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [
            str(name),
            format_metric(one),
            format_number(one.get("no_skill")),
            *(str(one.get(key, "")) for key in ("n", "groups", "method")),
            str(one.get("note") or one.get("reason") or ""),
        ]
        for name, one in entries.items()
    ]
    return Table(["metric", "value and 95 % interval", "no skill", "n", "patients", "method", "note"], rows)


def _curve(node: Mapping[str, Any]) -> Table | None:
    """A table with one row per point, of curves with their bands over shared values; None of anything else."""
    bands = {name: one for name, one in node.items() if isinstance(one, Mapping) and set(_BAND) <= one.keys()}
    lengths = {len(one[key]) for one in bands.values() for key in _BAND}
    if len(lengths) != 1:
        return None
    (points,) = lengths
    lists = {name: one for name, one in node.items() if isinstance(one, list) and len(one) == points}
    columns = [[_number(value) for value in one] for one in lists.values()]
    for one in bands.values():
        columns.append([_with_band(*point) for point in zip(*(one[key] for key in _BAND), strict=True)])
    return Table([*map(str, lists), *map(str, bands)], list(zip(*columns, strict=True)))


def _with_band(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "–"
    return f"{format_number(value)} [{format_number(low)},{format_number(high)}]"


def _number(value: Any) -> str:
    return format_number(value) if isinstance(value, float) else str(value)
