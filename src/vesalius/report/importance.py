"""Importance of the keys of a grid: an analysis of variance of what its runs reach on validation."""

from collections.abc import Hashable, Sequence

import numpy as np

from vesalius.report.content import Part


def grid_keys(part: Part) -> dict[str, list[Hashable]]:
    """What varies among the runs, including seeds and folds: by key, one value per run."""
    repeats: dict[str, Sequence[Hashable]] = {
        "seed": [run.seed for run in part.runs],
        "data.seed": [run.data_seed for run in part.runs],
        "data.fold": [run.fold for run in part.runs],
    }
    if repeats["data.seed"] == repeats["seed"]:  # as it does by default
        del repeats["data.seed"]
    keys: dict[str, Sequence[Hashable]] = {**part.keys, **repeats}
    return {key: list(values) for key, values in keys.items() if len(set(values)) > 1}


def grid_importance(part: Part) -> list[tuple[str, float]]:
    """Share of the variance of the best monitored value that each key explains by itself, largest first.

    In a full grid, every combination of values equally often, keys vary apart from each other, and the variance between
    the means of a key's values is its own; what is left is interaction and noise. Empty for anything else, and where
    all runs are equally good.
    """
    keys, values = grid_keys(part), [run.best[0] for run in part.runs if run.results is not None and run.best]
    combinations = list(zip(*keys.values(), strict=True))
    size = int(np.prod([len(set(each)) for each in keys.values()]))
    counts = {combinations.count(one) for one in combinations}
    if len(values) < len(part.runs) or len(set(combinations)) < size or len(counts) > 1 or np.ptp(values) == 0:
        return []
    reached = np.array(values)
    shares = {}
    for key, levels in keys.items():
        means = {level: reached[[other == level for other in levels]].mean() for level in set(levels)}
        shares[key] = float(np.var([means[level] for level in levels]) / reached.var())
    return sorted(shares.items(), key=lambda pair: -pair[1])
