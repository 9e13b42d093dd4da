"""In what two finished runs differ that should be equal to the last bit."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

#: What tells runs apart and no number depends on: where and when they were, and what was typed.
_FREE = ("config", "provenance", "seconds", "dirpath")


def differences(one: Path, other: Path) -> list[str]:
    """Sentences on everything that differs in checkpoints, histories, predictions and metrics."""
    found = []
    for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        both = [torch.load(run / name, map_location="cpu", weights_only=True) for run in (one, other)]
        found += [f"{name}: {place}" for place in _unequal(*both)]
    for path in sorted(one.glob("predictions/**/*.csv")):
        name = path.relative_to(one)
        if (other / name).read_bytes() != path.read_bytes():
            found.append(f"{name}")
    if (one / "metrics.json").read_bytes() != (other / "metrics.json").read_bytes():
        found.append("metrics.json")
    if _history(one) != _history(other):
        found.append("history.csv")
    return found


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def _unequal(one: Any, other: Any, place: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key in _FREE:
                continue
            if key not in one or key not in other:
                yield f"{place}/{key} is in one of them"
            else:
                yield from _unequal(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other, strict=True)):
            yield from _unequal(*pair, f"{place}/{at}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0)):
            yield place
    elif one != other and not (one != one and other != other):
        yield f"{place}: {one!r} and {other!r}"
