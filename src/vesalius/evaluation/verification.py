"""Whether what a finished run reports follows from what it stored: numbers from predictions, files from one another."""

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.targets import locate
from vesalius.data.splits.file import load_run_split, split_hash
from vesalius.evaluation.base import Metrics, results_class
from vesalius.models.family import output_kind
from vesalius.runs.hashes import HASHES, changed_files
from vesalius.runs.provenance.code import code_version
from vesalius.runs.reading import DAMAGE, describe_error
from vesalius.runs.redaction import without_paths
from vesalius.runs.run_folder import SPLIT, RunFolder

#: Relative difference of two computations of one number; a change in a later digit is what hashes are for.
TOLERANCE = 1e-9
_NUMBERS = ("prob/", "pred/", "target/", "anomaly/")
_OWN_NUMBERS = ("target", "threshold", "psnr", "ssim", "mse", "recalled", "covered", "normal")


@dataclass
class Verification:
    """What a check of a run came to.

    Attributes:
        problems: one sentence for each thing that differs.
        notes: what could not be checked, and why.
        numbers: how many were computed again.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    numbers: int = 0


def verify(run: RunFolder, checkpoint: Mapping[str, Any]) -> Verification:
    """Check the hashes of a run, its config and split, and all metrics that follow from its predictions.

    Args:
        run: finished.
        checkpoint: its best one.

    Raises:
        InputError: for a run that has not finished.
    """
    found, config, metrics = Verification(), run.config, run.metrics
    check_hashes(run, found)
    if without_paths(config) != checkpoint["config"]:
        changed = ", ".join(_differences(checkpoint["config"], without_paths(config)))
        found.problems.append(f"config.yaml is not the config that the run was trained with: {changed}.")
    tables = read_tables(run.predictions, found)
    _check_split(run, checkpoint, tables, found)
    _check_monitor(metrics, checkpoint, found)
    if {"val", "test"} <= tables.keys():
        _check_numbers(run, checkpoint, metrics, tables, found)
    return found


def check_hashes(run: RunFolder, found: Verification) -> None:
    """Compare the files with those that `hashes.json` lists."""
    try:
        changed, signed = changed_files(run.path)
    except FileNotFoundError:
        found.notes.append(
            f"{HASHES} is missing, as in runs of earlier versions: only what follows from one another was compared."
        )
    except DAMAGE as error:
        found.problems.append(f"{HASHES} cannot be read: {describe_error(error)}")
    else:
        found.problems += changed
        if not signed:
            found.notes.append(
                f"{HASHES} was not signed by you on this machine: whoever changes a file can change it too."
            )


def _check_split(
    run: RunFolder, checkpoint: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], found: Verification
) -> None:
    try:
        split = load_run_split(run.path / SPLIT)
    except InputError as error:
        found.problems += error.problems
        return
    written = checkpoint["provenance"].get("split")
    if written is not None and split_hash(split) != written:
        found.problems.append("split.csv is not the split that the run was trained with.")
    for name, table in tables.items():
        if name not in ("val", "test"):
            continue
        expected = split[split["split"] == name]
        strange = set(zip(table["sample_id"], table["group_id"], strict=True)) - set(
            zip(expected["sample_id"], expected["group_id"], strict=True)
        )
        if strange:
            found.problems.append(
                f"predictions/{name}.csv has {len(strange)} samples or patients that split.csv does not have in {name}."
            )


def _check_monitor(metrics: Metrics, checkpoint: Mapping[str, Any], found: Verification) -> None:
    monitor = metrics.get("monitor") or {}
    stored = {"best": checkpoint.get("monitored"), "epoch": checkpoint.get("epoch")}
    for key in (key for key in stored if key in monitor and not _equal(monitor[key], stored[key])):
        found.problems.append(f"monitor.{key} is {monitor[key]} in metrics.json, and {stored[key]} in best.ckpt.")


def _check_numbers(
    run: RunFolder,
    checkpoint: Mapping[str, Any],
    metrics: Metrics,
    tables: Mapping[str, pd.DataFrame],
    found: Verification,
) -> None:
    facts, unused = Facts.from_dict(checkpoint["facts"]), cast(Any, None)
    kind = output_kind(locate(checkpoint["config"]["model"]["_target_"]))
    results = results_class(kind)(unused, unused, facts, run.config, torch.device("cpu"), run.path)
    own = {name: table for name, table in tables.items() if name in ("val", "test")}
    baselines = {name.partition("/")[2]: table for name, table in tables.items() if "/" in name}
    try:
        again = results.rescore(own, baselines, metrics)
    except (KeyError, ValueError, TypeError, IndexError, InputError) as error:
        found.problems.append(f"the predictions are not a table of this task: {describe_error(error)}")
        return
    compare_numbers(metrics, again, found)
    before, now = checkpoint["provenance"].get("code") or {}, code_version().to_dict()
    if any("metrics.json, and" in problem for problem in found.problems) and before != now:
        found.notes.append(
            f"the run was written by commit {before.get('commit')} of Vesalius, and this is {now['commit']}: a metric "
            "may be defined otherwise in it."
        )
    left = sorted(metrics.keys() - again.keys() - {"schema", "task", "monitor"})
    if left:
        found.notes.append(f"{', '.join(left)}: not computed again, which needs the images: `vesalius rerun` does.")


def compare_numbers(metrics: Metrics, again: Metrics, found: Verification) -> None:
    """Compare the parts of metrics that were computed again with the stored ones."""
    for part in (part for part in again if part in metrics):
        for path, stored, computed in _shared(metrics[part], again[part], part):
            found.numbers += 1
            if not _equal(stored, computed):
                found.problems.append(
                    f"{path} is {_shown(stored)} in metrics.json, and {_shown(computed)} by its table."
                )


def read_tables(
    folder: Path, found: Verification, expected: Collection[str] = ("val", "test")
) -> dict[str, pd.DataFrame]:
    """The predictions by split, and those of baselines as `baselines/NAME`; what is expected and gone is a problem."""
    tables = {}
    for path in sorted(folder.glob("**/*.csv")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        try:
            tables[name] = _read_table(path)
        except (*DAMAGE, csv.Error) as error:
            found.problems.append(f"predictions/{name}.csv cannot be read: {describe_error(error)}")
    found.problems += [
        f"predictions/{name}.csv is gone." for name in expected if not (folder / f"{name}.csv").is_file()
    ]
    return tables


def _read_table(path: Path) -> pd.DataFrame:
    """A predictions table with the very numbers that were written, and all else as text."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("it has rows of more cells than its header")
    if not {"sample_id", "group_id"} <= set(table.columns):
        raise ValueError("it names no samples and patients")
    for name in table.columns:
        if name in _OWN_NUMBERS or name.startswith(_NUMBERS):
            values = table[name].map(lambda text: float(text) if text else math.nan)
            whole = name.startswith(("target", "normal")) and bool((values == values.round()).all())
            table[name] = values.astype("int64") if whole else values
    return table


def _shared(stored: Any, computed: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Single values under the keys that both have; a part that is only in the file is of another table."""
    if isinstance(stored, Mapping) and isinstance(computed, Mapping):
        for key in (key for key in computed if key in stored or "ci95" in computed):
            yield from _shared(stored.get(key), computed[key], f"{path}.{key}")
    elif isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
        for at, (one, other) in enumerate(zip(stored, computed, strict=True)):
            yield from _shared(one, other, f"{path}[{at}]")
    else:
        yield path, stored, computed


def _equal(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12) if numbers else one == other


def _shown(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted keys under which two configs differ."""
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{path}{key}.")
        elif one != other:
            yield f"{path}{key}"
