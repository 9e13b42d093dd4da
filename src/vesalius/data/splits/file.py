"""The split file of a run, `split.csv`: written, read back, and compared by a hash."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.samples import SPLITS, UNUSED
from vesalius.runs.run_folder import write_atomically

#: Begins the ids of images that a generator drew.
SYNTHETIC = "synthetic/"
_COLUMNS = ["sample_id", "group_id", "split"]
_EDITED = (
    "Take the run's split.csv from a backup; for another split, start a new run with data.split_file=FILE, since this "
    "one has already learned from its own."
)


def write_split(table: pd.DataFrame, path: Path) -> None:
    """Write `sample_id,group_id,split` as CSV; the file appears complete or not at all."""
    write_atomically(path, table[_COLUMNS].to_csv(index=False))


def read_split(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its `split` taken from a file, whatever the source fixed; it may be `unused`.

    Rows of synthetic images in the file are ignored: a run that learns from such images adds them itself.

    Raises:
        InputError: with every way in which the file and the table differ.
    """
    given = _read(path)
    ids = table["sample_id"].astype(str)
    twice = given["sample_id"][given["sample_id"].duplicated()].unique().tolist()
    by_id = given.drop_duplicates("sample_id").set_index("sample_id")
    known = by_id.reindex(ids)
    absent = known["split"].isna().to_numpy()
    regrouped = ~absent & (known["group_id"].to_numpy() != table["group_id"].astype(str).to_numpy())
    foreign = sorted(set(given.loc[~synthetic_rows(given), "sample_id"]) - set(ids))
    unknown = sorted(set(given["split"]) - {*SPLITS, UNUSED})
    findings = (
        (twice, "lists {} sample(s) more than once", "keep one row for each"),
        (ids[absent].tolist(), "has no row for {} sample(s) of the data", "add them, or create a new split"),
        (foreign, "lists {} sample(s) that the data does not have", "remove them, or use the data it was written for"),
        (ids[regrouped].tolist(), "gives {} sample(s) another group than the data does", "create a new split"),
        ([f"`{name}`" for name in unknown], "has {} split(s) not called train, val, test or unused", "correct them"),
    )
    problems = [
        f"the split file {path.name} {what.format(len(found))}: {format_list(found)}; {cure}."
        for found, what, cure in findings
        if found
    ]
    if problems:
        raise InputError(problems)
    result = table.copy()
    result["split"] = pd.Series(known["split"].tolist(), index=table.index)
    return result


def _read(path: Path) -> pd.DataFrame:
    try:
        given = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"the split file {path} does not exist: correct `data.split_file`.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the split file {path} cannot be read ({error}): save it as a CSV.") from error
    if not isinstance(given.index, pd.RangeIndex):
        raise InputError(f"the split file {path.name} has rows of more cells than its header: save it again as a CSV.")
    missing = [column for column in _COLUMNS if column not in given]
    if missing:
        raise InputError(
            f"the split file {path.name} has no column {format_list(missing)}: its header is sample_id,group_id,split."
        )
    return given


def read_run_split(path: Path, table: pd.DataFrame, written: str | None = None) -> pd.DataFrame:
    """The table with the split of a run that is resumed or evaluated.

    Args:
        path: of the run's `split.csv`.
        table: of the data.
        written: `split_hash` of what the run wrote; None for a run that kept none.

    Raises:
        InputError: where the file is gone or was edited, or the data are no longer those of the run.
    """
    given = load_run_split(path)
    if written is not None and split_hash(given) != written:
        raise InputError(f"{path} is not as the run wrote it: samples are in other splits, or it was cut. {_EDITED}")
    try:
        return read_split(path, table)
    except InputError as error:
        cure = (
            "the data are not those that the run began with: bring these back (and the file of identities, "
            "VESALIUS_IDENTITIES, if patients have other pseudonyms now), or start a new run."
        )
        raise InputError([*error.problems, cure]) from error


def load_run_split(path: Path) -> pd.DataFrame:
    """The rows of a run's `split.csv`, all columns as text.

    Raises:
        InputError: where it is gone or damaged.
    """
    if not path.is_file():
        raise InputError(
            f"{path} is gone, and only it names the patients that the run has learned from: take it from a backup, or "
            "start a new run."
        )
    try:
        return _read(path)
    except InputError as error:
        raise InputError([*error.problems, _EDITED]) from error


def synthetic_rows(split: pd.DataFrame) -> pd.Series:
    """Which rows of a split are of synthetic images: numbered training samples, each a group of its own."""
    ids = split["sample_id"].astype(str)
    numbered = ids.str.fullmatch(rf"{SYNTHETIC}[0-9]+")
    return numbered & (split["group_id"].astype(str) == ids) & (split["split"] == "train")


def split_hash(split: pd.DataFrame) -> str:
    """A hash of which real sample is in which split: 32 hexadecimal digits (BLAKE2b); equal for equal splits.

    Samples that are `unused` count, so parts of a training set have hashes of their own. The order of the rows,
    patients, targets and synthetic images do not count.

    Args:
        split: has `sample_id` and `split`, and `group_id`, which helps to tell synthetic images from real ones.
    """
    real = split[~synthetic_rows(split)]
    pairs = sorted(zip(real["sample_id"].astype(str), real["split"].astype(str), strict=True))
    return hashlib.blake2b(json.dumps(pairs).encode(), digest_size=16).hexdigest()
