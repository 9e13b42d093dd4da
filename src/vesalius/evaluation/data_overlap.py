"""Whether other runs, whose weights a run begins with or is judged by, have seen the images that it is judged on."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import CONFIG, SPLIT, RunFolder

logger = logging.getLogger("vesalius")

# What a source is asked for: with another kind, phantom or set, equal names are those of other images.
_POPULATION = ("_target_", "seed", "name")


def check_unseen(key: str, named: str | None, table: pd.DataFrame, source: Mapping[str, Any], fingerprint: str) -> None:
    """Refuse a run that has learned from images that this one is judged by, itself or by the weights it began with.

    Args:
        key: of the config, that names the run.
        named: its folder; a file of weights, or None, has nothing to be asked.
        table: the sample table of the run that is judged, with its `split`.
        source: its `data.source`. Runs on another kind of source, another phantom or another public set are of other
            data, whatever their samples are called; so are runs on other files in another folder, with a warning.
        fingerprint: of its data.

    Raises:
        InputError: where validation or test images of this run are among the training images of the other.
    """
    judged = set(table.loc[table["split"].isin(["val", "test"]), "sample_id"].astype(str))
    for run in _lineage(named):
        other = run.config["data"]["source"]
        if any(source.get(one) != other.get(one) for one in _POPULATION):
            continue
        split = pd.read_csv(run.path / SPLIT, dtype=str, keep_default_na=False)
        seen = len(judged & set(split.loc[split["split"] == "train", "sample_id"]))
        if seen and _folder_of(source) != _folder_of(other) and run.provenance.get("data") != fingerprint:
            logger.warning(
                "%s=%s: %d of this run's validation or test images are called as some that %s has learned from; being "
                "other files in another folder, they are taken for others.",
                *(key, named, seen, run.path),
            )
        elif seen:
            it = "it" if str(run.path) == named else f"its weights began as those of {run.path}, which"
            raise InputError(
                f"{key}={named}: {it} has learned from {seen} of this run's validation or test images: give this run "
                f"that split (data.split_file={run.path}/split.csv), or train another one."
            )


def _folder_of(source: Mapping[str, Any]) -> Any:
    return source.get("root") or source.get("manifest")


def _lineage(named: str | None) -> Iterator[RunFolder]:
    """The run, that whose weights it began with, and so on."""
    first = named
    while named is not None and not Path(named).is_file():
        if named != first and not (Path(named) / CONFIG).is_file():
            logger.warning("%s began with the weights of a run that is gone: what that has seen is not known.", first)
            return
        run = RunFolder(named)
        yield run
        named = run.config["init_from"]
