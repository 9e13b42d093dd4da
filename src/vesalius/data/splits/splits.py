"""Training, validation and test sets that never share a patient."""

import hashlib
import json
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.samples import SPLITS
from vesalius.data.splits.stratify import deal, group_counts, line_up

UNUSED = "unused"  # in a split file: samples that a run had, but left out of training
SYNTHETIC = "synthetic/"  # begins the ids of images that a generator made
_COLUMNS = ["sample_id", "group_id", "split"]


def assign_splits(
    table: pd.DataFrame,
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    task: Task,
    fold: int | None = None,
    folds: int | None = None,
) -> pd.DataFrame:
    """Give every sample a split, all samples of a group the same.

    Splits that the table fixes are kept as they are, and loose samples of a fixed group follow it. Loose groups are
    shared among the splits that the table does not fix (among all three if it fixes each, or none). Where nothing is
    loose but a split is missing, as in the many sets that come as train and test alone, it is cut from `train`.

    With `folds`, all groups outside a fixed test split are dealt into that many folds, whatever else the table says of
    them. Fold number `fold` is the test split, and validation is cut from the rest in the proportion of `fractions`;
    where the table fixes the test split, that one stays, and the fold is the validation split.

    Classes are spread as `stratify.deal` says. Groups are served in the order of a hash of (seed, group_id), so the
    order of the rows does not matter, and folds are the same ones whichever of them is asked for.

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
        InputError: if the fractions are no parts of a whole, or the folds cannot be made.
    """
    parts = _checked(fractions)
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
    order = sorted(np.flatnonzero(pool).tolist(), key=lambda number: _hash(seed, str(names[number])))
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


def train_subset(table: pd.DataFrame, fraction: float, *, seed: int, task: Task) -> pd.DataFrame:
    """Mark all but a part of the training groups as `unused`; validation and test stay as they are.

    Smaller parts lie inside larger ones. They are stratified as `stratify.line_up` says, and hold every class of the
    training split, even where that takes more groups than asked for.

    Args:
        table: a table with its `split` filled.
        fraction: part of the training groups to keep, above 0 and up to 1; rounded up to whole groups.
        seed: another seed, other groups.
        task: what the targets mean.

    Returns:
        A copy of the table in the order given. `in_use` drops what is unused; `write_split` keeps it, so that the
        file tells the very subset.

    Raises:
        InputError: if there is no such part.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"`data.train_fraction={fraction}` must be above 0 and at most 1, which keeps all.")
    result = table.copy()
    train = (table["split"] == "train").to_numpy()
    if fraction == 1 or not train.any():
        return result
    codes, names = pd.factorize(table.loc[train, "group_id"].astype(str), sort=True)
    counts = group_counts(table[train], task, codes, len(names))
    order = sorted(range(len(names)), key=lambda number: _hash(seed, str(names[number])))
    line, complete = line_up(counts, order)
    asked = math.ceil(fraction * len(line) - 1e-9)  # 0.07 of 100 groups is 7, not 7.000000000000001
    kept = np.isin(codes, line[: max(asked, complete)])
    result["split"] = result["split"].mask(train & ~np.isin(np.arange(len(table)), np.flatnonzero(train)[kept]), UNUSED)
    return result


def in_use(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are not `unused`, numbered anew."""
    return table[table["split"] != UNUSED].reset_index(drop=True)


def synthetic_rows(split: pd.DataFrame) -> pd.Series:
    """Which rows of a split are of synthetic images: numbered ones that are learned from, each a group of its own."""
    ids = split["sample_id"].astype(str)
    numbered = ids.str.fullmatch(rf"{SYNTHETIC}[0-9]+")
    return numbered & (split["group_id"].astype(str) == ids) & (split["split"] == "train")


def split_hash(split: pd.DataFrame) -> str:
    """Tells whether two splits are one: a hex digest of 32 characters (BLAKE2b) of which real sample is where.

    Samples that are `unused` count, so parts of a training set have hashes of their own. The order of the rows,
    patients, targets and synthetic images do not.

    Args:
        split: has `sample_id` and `split`, and `group_id`, by which synthetic images are known.
    """
    real = split[~synthetic_rows(split)]
    pairs = sorted(zip(real["sample_id"].astype(str), real["split"].astype(str), strict=True))
    return hashlib.blake2b(json.dumps(pairs).encode(), digest_size=16).hexdigest()


def write_split(table: pd.DataFrame, path: Path) -> None:
    """Write `sample_id,group_id,split` as CSV, whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        table[_COLUMNS].to_csv(part, index=False)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_split(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its `split` taken from a file, whatever the source said; it may be `unused`.

    Synthetic images that the file lists are passed over: who wants them mixes them in anew.

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
            f"the split file {path.name} has no column {format_list(missing)}: its header is sample_id,group_id,split."
        )

    ids = table["sample_id"].astype(str)
    twice = given["sample_id"][given["sample_id"].duplicated()].unique().tolist()
    by_id = given.drop_duplicates("sample_id").set_index("sample_id")
    known = by_id.reindex(ids)
    absent = known["split"].isna().to_numpy()
    regrouped = ~absent & (known["group_id"].to_numpy() != table["group_id"].astype(str).to_numpy())
    foreign = sorted(set(given.loc[~synthetic_rows(given), "sample_id"]) - set(ids))
    unknown = sorted(set(given["split"]) - {*SPLITS, UNUSED})
    findings = (
        (twice, "sample(s) more than once", "keep one row for each"),
        (ids[absent].tolist(), "sample(s) of the data not at all", "add them, or make a new split"),
        (foreign, "sample(s) that the data does not have", "take them out, or use the data it was made for"),
        (ids[regrouped].tolist(), "sample(s) with another group than the data says", "make a new split"),
        ([f"`{name}`" for name in unknown], "split(s) of another name than train, val, test or unused", "correct them"),
    )
    problems = [
        f"the split file {path.name} has {len(found)} {what}: {format_list(found)}; {cure}."
        for found, what, cure in findings
        if found
    ]
    if problems:
        raise InputError(problems)
    result = table.copy()
    result["split"] = pd.Series(known["split"].tolist(), index=table.index)
    return result


def _checked(fractions: Sequence[float]) -> list[float]:
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
        raise InputError(f"`data.fold={fold}` is a fold of how many? Set `data.folds`, for example to 5.")
    if folds < 2:
        raise InputError(f"`data.folds={folds}` must be 2 or more; null makes a single split.")
    if fold is None or not 0 <= fold < folds:
        raise InputError(
            f"`data.fold={'null' if fold is None else fold}` must be 0 to {folds - 1}, as `data.folds={folds}`: choose "
            f"the fold to hold out, or train all with -m 'data.fold=range({folds})'."
        )


def _hold_out(
    counts: np.ndarray, of_group: np.ndarray, order: Sequence[int], *, fold: int, folds: int, held_out: str
) -> None:
    """Deal the groups of `order` into folds and write the split of the one that is held out into `of_group`."""
    if folds > len(order):
        raise InputError(
            f"`data.folds={folds}` are more than the {len(order)} groups (patients) that can be dealt out: "
            f"set it to {len(order)} or fewer."
        )
    dealt = deal(counts, of_group, order, [(str(number), 1.0) for number in range(folds)])
    for number in order:
        of_group[number] = held_out if dealt[number] == str(fold) else ""


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
