"""Whether weights from other runs have learned from images that a run is evaluated on."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.splits.file import load_run_split
from vesalius.runs.run_folder import CONFIG, SPLIT, RunFolder

logger = logging.getLogger("vesalius")

# Options of a source: where they differ, equal names belong to other images.
_POPULATION = ("_target_", "seed", "name")


def check_data_overlap(
    key: str, named: str | None, table: pd.DataFrame, source: Mapping[str, Any], fingerprint: str
) -> None:
    """Refuse a run whose weights, or those it started from, have learned from images that this run is evaluated on.

    Args:
        key: of the config, that names the other run.
        named: folder of the other run; nothing is known, and all is accepted, of a file of weights or None.
        table: the sample table of this run, with its `split`.
        source: this run's `data.source`. Runs on another kind of source, another phantom or another public set have
            other data, whatever their samples are called; so have runs on other files in another folder, with a
            warning.
        fingerprint: of this run's data.

    Raises:
        InputError: where validation or test images of this run are among the training images of the other.
    """
    evaluated = set(table.loc[table["split"].isin(["val", "test"]), "sample_id"].astype(str))
    for run in _lineage(named):
        other = run.config["data"]["source"]
        if any(source.get(one) != other.get(one) for one in _POPULATION):
            continue
        split = load_run_split(run.path / SPLIT)
        seen = len(evaluated & set(split.loc[split["split"] == "train", "sample_id"]))
        if seen and _folder_of(source) != _folder_of(other) and run.provenance.get("data") != fingerprint:
            logger.warning(
                "%s=%s: %d of this run's validation or test images have the names of images that %s has learned from; "
                "being other files in another folder, they are taken for other images.",
                *(key, named, seen, run.path),
            )
        elif seen:
            it = "it" if str(run.path) == named else f"its weights started from those of {run.path}, which"
            raise InputError(
                f"{key}={named}: {it} has learned from {seen} of this run's validation or test images: give this run "
                f"that split (data.split_file={run.path}/split.csv), or train another one."
            )


def _folder_of(source: Mapping[str, Any]) -> Any:
    return source.get("root") or source.get("manifest") or source.get("file")


def _lineage(named: str | None) -> Iterator[RunFolder]:
    """The run, the run that it started from, and so on."""
    first = named
    while named is not None and not Path(named).is_file():
        if named != first and not (Path(named) / CONFIG).is_file():
            logger.warning(
                "%s started from the weights of a run that is gone: its training images are not known.", first
            )
            return
        run = RunFolder(named)
        yield run
        named = run.config["init_from"]
