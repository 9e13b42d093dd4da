"""Training, validation and test sets that never share a patient."""

import hashlib
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.samples import SPLITS, listed, target_columns

_COLUMNS = ["sample_id", "group_id", "split"]


def assign_splits(
    table: pd.DataFrame,
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    task: Task,
) -> pd.DataFrame:
    """Give every sample a split, all samples of a group the same.

    Splits that the table fixes are kept as they are, and loose samples of a fixed group follow it. Loose groups are
    shared among the splits that the table does not fix (among all three if it fixes each, or none). Where nothing is
    loose but a split is missing, as in the many sets that come as train and test alone, it is cut from `train`.

    Classes are spread by iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011) over whole groups,
    the rarest class first; then, as far as groups allow, each split that lacks a class is given a group of it. Groups
    are served in the order of a hash of (seed, group_id), so the order of the rows does not matter.

    Args:
        table: the sample table, its targets checked.
        fractions: parts of train, val and test; they sum to 1. A split of part 0 gets nothing.
        seed: another seed, another split.
        task: what the targets mean.

    Returns:
        A copy of the table with its `split` filled, in the order given.

    Raises:
        InputError: if the fractions are no parts of a whole.
    """
    parts = [float(part) for part in fractions]
    if len(parts) != 3 or min(parts) < 0 or not math.isclose(sum(parts), 1, abs_tol=1e-6) or parts[0] == 0:
        raise InputError(
            f"`data.fractions={list(fractions)}` must be three parts (train, val, test), none negative, that sum to 1, "
            "with something for train."
        )
    result = table.copy()
    codes, names = pd.factorize(table["group_id"].astype(str), sort=True)
    present = _class_counts(table, task)
    counts = np.zeros((len(names), present.shape[1] + 1))
    np.add.at(counts, codes, np.column_stack([present, np.ones(len(table))]))

    given = table["split"] if "split" in table else pd.Series(None, index=table.index, dtype=object)
    of_row = given.astype(object).where(given.notna(), "").astype(str).to_numpy(dtype=object)
    of_group, straddling = _fixed_splits(of_row, codes, len(names))
    pool, targets = _pool(
        of_group, straddling, [(name, part) for name, part in zip(SPLITS, parts, strict=True) if part]
    )
    of_row[pool[codes]] = ""
    of_group[pool] = ""
    order = sorted(np.flatnonzero(pool).tolist(), key=lambda number: _hash(seed, str(names[number])))
    if order:
        of_group = _stratify(counts, of_group, order, targets)
    # a group that the table itself puts into two splits is left so, for `check_samples` to name
    result["split"] = pd.Series(np.where(of_row != "", of_row, of_group[codes]).tolist(), index=table.index)
    return result


def write_split(table: pd.DataFrame, path: Path) -> None:
    """Write `sample_id,group_id,split` as CSV, whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        table[_COLUMNS].to_csv(part, index=False)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_split(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its `split` taken from a file, whatever the source said.

    Raises:
        InputError: with every way in which the file and the table differ.
    """
    try:
        given = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"the split file {path} does not exist: correct `data.split_file`.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the split file {path} cannot be read ({error}): save it as a CSV.") from error
    missing = [column for column in _COLUMNS if column not in given]
    if missing:
        raise InputError(
            f"the split file {path.name} has no column {listed(missing)}: its header is sample_id,group_id,split."
        )

    ids = table["sample_id"].astype(str)
    twice = given["sample_id"][given["sample_id"].duplicated()].unique().tolist()
    by_id = given.drop_duplicates("sample_id").set_index("sample_id")
    known = by_id.reindex(ids)
    absent = known["split"].isna().to_numpy()
    regrouped = ~absent & (known["group_id"].to_numpy() != table["group_id"].astype(str).to_numpy())
    foreign = sorted(set(by_id.index) - set(ids))
    unknown = sorted(set(given["split"]) - set(SPLITS))
    findings = (
        (twice, "sample(s) more than once", "keep one row for each"),
        (ids[absent].tolist(), "sample(s) of the data not at all", "add them, or make a new split"),
        (foreign, "sample(s) that the data does not have", "take them out, or use the data it was made for"),
        (ids[regrouped].tolist(), "sample(s) with another group than the data says", "make a new split"),
        ([f"`{name}`" for name in unknown], "split(s) of another name than train, val or test", "correct them"),
    )
    problems = [
        f"the split file {path.name} has {len(found)} {what}: {listed(found)}; {cure}."
        for found, what, cure in findings
        if found
    ]
    if problems:
        raise InputError(problems)
    result = table.copy()
    result["split"] = pd.Series(known["split"].tolist(), index=table.index)
    return result


def _class_counts(table: pd.DataFrame, task: Task) -> np.ndarray:
    """(n, K) of 0 and 1: which sample is of which class; a missing target is of none."""
    if task == "multilabel":
        columns = sorted(target_columns(table))
        positive: np.ndarray = table[columns].to_numpy(dtype=float) > 0.5
        return positive.astype(float)
    target = table["target"].to_numpy(dtype=float)
    classes = np.unique(target[~np.isnan(target)])
    member: np.ndarray = target[:, None] == classes
    return member.astype(float)


def _fixed_splits(of_row: np.ndarray, codes: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The split that each group is fixed to (or an empty string), and whether its samples contradict each other."""
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


def _hash(seed: int, group_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{group_id}".encode(), digest_size=8).digest()


def _stratify(
    counts: np.ndarray, fixed: np.ndarray, order: Sequence[int], targets: Sequence[tuple[str, float]]
) -> np.ndarray:
    """Give a split to each group that has none.

    Args:
        counts: (groups, K + 1) samples of each group in each class, and in all (last column).
        fixed: (groups,) the split of each group, or an empty string.
        order: numbers of the groups without one, in the order to serve them.
        targets: names and parts of the splits to fill.
    """
    names = [name for name, _ in targets]
    whole = sum(part for _, part in targets)
    queue = np.array(order)
    # samples of each class, and in all, that each split still wants
    wanted = [(part / whole * counts[queue].sum(axis=0)).tolist() for _, part in targets]
    assigned = fixed.copy()
    for label in _rarest_first(counts[queue]):
        for number in (queue[counts[queue, label] > 0] if label >= 0 else queue).tolist():
            if assigned[number]:
                continue
            best = -max((want[label], want[-1], -split) for split, want in enumerate(wanted))[2]
            assigned[number] = names[best]
            wanted[best] = [want - got for want, got in zip(wanted[best], counts[number].tolist(), strict=True)]
    _complete(counts[:, :-1] > 0, counts[:, -1], assigned, order, names)
    return assigned


def _rarest_first(counts: np.ndarray) -> list[int]:
    """Classes in the order to deal out: those in the fewest groups first; -1, for groups of no class, comes last."""
    holders = (counts[:, :-1] > 0).sum(axis=0)
    return [*np.argsort(holders, kind="stable").tolist(), -1]


def _complete(
    present: np.ndarray, size: np.ndarray, assigned: np.ndarray, order: Sequence[int], names: Sequence[str]
) -> None:
    """Move groups, the smallest that will do, into splits that lack a class; never so that another lacks one then."""
    has = {name: present[assigned == name].sum(axis=0) for name in names}  # groups of each class
    for label in _rarest_first(np.column_stack([present[list(order)], np.ones(len(order))]))[:-1]:
        for name in names:
            if has[name][label]:
                continue
            spare = [
                number
                for number in order
                if present[number, label]
                and assigned[number] != name
                and (has[assigned[number]] - present[number])[present[number]].min() >= 1
            ]
            if spare:
                number = min(spare, key=lambda candidate: size[candidate])
                has[assigned[number]] = has[assigned[number]] - present[number]
                has[name] = has[name] + present[number]
                assigned[number] = name
