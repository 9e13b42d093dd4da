"""The shapes of what a run's files hold; each function returns content of that shape, or raises ValueError."""

from collections.abc import Mapping, Sequence
from typing import Any


def entries_of(node: Any, depth: int, name: str) -> dict[str, Any]:
    """Metrics by name, below `depth` levels of mappings."""
    entries = mapping_of(node, name)
    if depth > 1:
        return {str(key): entries_of(value, depth - 1, f"{name}.{key}") for key, value in entries.items()}
    return {str(key): entry_of(value, f"{name}.{key}") for key, value in entries.items()}


def entry_of(node: Any, name: str, counts: Sequence[str] = ("n", "groups")) -> dict[str, Any]:
    """One metric, whose `counts` are whole numbers; half an interval counts as no interval."""
    entry = mapping_of(node, name)
    ends = list_of(entry.get("ci95"), f"ci95 of {name}")
    for value in (entry.get("value"), entry.get("no_skill"), *ends):
        check_number(value, name)
    if len(ends) not in (0, 2) or not all(isinstance(entry.get(key), int) for key in counts):
        raise ValueError(f"{name} is not a metric with its interval and counts")
    whole = bool(ends) and None not in ends
    return {"no_skill": None, "method": "", **entry, "value": entry.get("value"), "ci95": ends if whole else None}


def mapping_of(node: Any, name: str) -> dict[str, Any]:
    """A mapping as a dictionary."""
    if not isinstance(node, Mapping):
        raise ValueError(f"{name} is not a mapping")
    return dict(node)


def list_of(node: Any, name: str) -> list[Any]:
    """A list, empty for nothing."""
    if not isinstance(node or [], list):
        raise ValueError(f"{name} is not a list")
    return list(node or [])


def check_number(value: Any, name: str) -> None:
    """Refuse what is neither a number nor missing."""
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
