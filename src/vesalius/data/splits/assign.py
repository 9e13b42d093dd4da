"""A split for every sample, by group: at random, as the data set fixes it, or a fold of a cross-validation."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.samples import SPLITS, UNUSED
from vesalius.data.splits.stratify import deal, group_counts, seeded_order


def assign_splits(
    table: pd.DataFrame,
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    task: Task,
    fold: int | None = None,
    folds: int | None = None,
) -> pd.DataFrame:
    """Assign a split to every sample, the same to all samples of a group.

    Splits that the table fixes stay as they are, and samples without a split follow the others of their group. Groups
    without a split are shared among the splits that the table does not fix (among all three if it fixes each, or none).
    Where no group lacks one, but one of the splits is missing, as in the many sets that come as only train and test,
    that split is cut from `train`.

    With `folds`, all groups outside a fixed test split are dealt into that many folds, whatever split the table gives
    them. Fold number `fold` is the test split, and validation is cut from the rest in the proportion of `fractions`;
    where the table fixes the test split, that one stays, and the fold is the validation split.

    Classes are spread as in `stratify.deal`. Groups are served in the order of a hash of (seed, group_id), so the
    order of the rows does not matter, and the folds are the same whichever of them is asked for.

    Args:
        table: the sample table, its targets checked.
        fractions: parts of train, val and test; they sum to 1. A split of part 0 gets nothing.
        seed: another seed, another split.
        task: what the targets mean.
        fold: which fold is held out, from 0; None for a single split.
        folds: parts of a cross-validation, 2 or more; as many as there are groups leave one group out.

    Returns:
        A copy of the table with its `split` filled, in the order given.

    Raises:
        InputError: if the fractions are not parts of a whole, or there are too few groups for the folds.
    """
    parts = _check_fractions(fractions)
    _check_fold(fold, folds)
    codes, names = pd.factorize(table["group_id"].astype(str), sort=True)
    counts = group_counts(table, task, codes, len(names))
    given = table["split"] if "split" in table else pd.Series(None, index=table.index, dtype=object)
    of_row = given.astype(object).where(given.notna(), "").astype(str).to_numpy(dtype=object, copy=True)
    of_group, straddling = _fixed_splits(of_row, codes, len(names))
    if folds is None:
        pool, targets = _pool(of_group, straddling, [pair for pair in zip(SPLITS, parts, strict=True) if pair[1]])
    else:
        pool, targets = ~np.isin(of_group, ["test", UNUSED]) & ~straddling, []
    held_out = "val" if (of_group == "test").any() else "test"
    of_row[pool[codes]] = ""
    of_group[pool] = ""
    order = seeded_order(np.flatnonzero(pool).tolist(), names, seed)
    if fold is not None and folds is not None:
        _hold_out(counts, of_group, order, fold=fold, folds=folds, held_out=held_out)
        order = [number for number in order if not of_group[number]]
        targets = [("train", parts[0]), ("val", parts[1])][: 2 if held_out == "test" and parts[1] else 1]
    if order:
        of_group = deal(counts, of_group, order, targets)
    result = table.copy()
    # a group that the table itself puts into two splits is left so, for `check_samples` to name
    result["split"] = pd.Series(np.where(of_row != "", of_row, of_group[codes]).tolist(), index=table.index)
    return result


def _check_fractions(fractions: Sequence[float]) -> list[float]:
    parts = [float(part) for part in fractions]
    if len(parts) != 3 or min(parts) < 0 or not math.isclose(sum(parts), 1, abs_tol=1e-6) or parts[0] == 0:
        raise InputError(
            f"`data.fractions={list(fractions)}` must be three parts (train, val, test), none negative, that sum to 1, "
            "with something for train."
        )
    return parts


def _check_fold(fold: int | None, folds: int | None) -> None:
    if folds is None and fold is None:
        return
    if folds is None:
        raise InputError(f"`data.fold={fold}` needs the number of folds: set `data.folds`, for example to 5.")
    if folds < 2:
        raise InputError(f"`data.folds={folds}` must be 2 or more, or null for a single split.")
    if fold is None or not 0 <= fold < folds:
        raise InputError(
            f"`data.fold={'null' if fold is None else fold}` must be 0 to {folds - 1}, as `data.folds={folds}`: choose "
            f"the fold to hold out, or train all with -m 'data.fold=range({folds})'."
        )


def _hold_out(
    counts: np.ndarray, of_group: np.ndarray, order: Sequence[int], *, fold: int, folds: int, held_out: str
) -> None:
    """Deal the groups of `order` into folds and write the split of the fold that is held out into `of_group`."""
    if folds > len(order):
        raise InputError(
            f"`data.folds={folds}` is more than the {len(order)} groups (patients) that can be dealt out: "
            f"set it to {len(order)} or fewer."
        )
    dealt = deal(counts, of_group, order, [(str(number), 1.0) for number in range(folds)])
    for number in order:
        of_group[number] = held_out if dealt[number] == str(fold) else ""


def _fixed_splits(of_row: np.ndarray, codes: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The split that each group is fixed to (or an empty string), and whether its samples are in several."""
    fixed = np.full(groups, "", dtype=object)
    straddling = np.zeros(groups, dtype=bool)
    for code, name in sorted({(code, name) for code, name in zip(codes.tolist(), of_row, strict=True) if name}):
        straddling[code] = bool(fixed[code])
        fixed[code] = fixed[code] or name
    return fixed, straddling


def _pool(
    fixed: np.ndarray, straddling: np.ndarray, parts: list[tuple[str, float]]
) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """Which groups are dealt out, and to which splits in what parts."""
    missing = [(name, part) for name, part in parts if not (fixed == name).any()]
    loose = fixed == ""
    if loose.any():
        return loose, missing or parts
    if missing:
        return (fixed == "train") & ~straddling, [parts[0], *[pair for pair in missing if pair[0] != "train"]]
    return loose, parts
