"""Whether other runs, whose weights a run begins with or is judged by, have seen the images that it is judged on."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.runs.folder import CONFIG, SPLIT, RunFolder

logger = logging.getLogger("vesalius")


def check_unseen(key: str, named: str | None, table: pd.DataFrame, source: str) -> None:
    """Refuse a run that has learned from images that this one is judged by, itself or by the weights it began with.

    Args:
        key: of the config, that names the run.
        named: its folder; a file of weights, or None, has nothing to be asked.
        table: the sample table of the run that is judged, with its `split`.
        source: its `data.source._target_`. Runs on another kind of source are of other data, whatever their samples
            are called.

    Raises:
        InputError: where validation or test images of this run are among the training images of the other.
    """
    judged = set(table.loc[table["split"].isin(["val", "test"]), "sample_id"].astype(str))
    for run in _lineage(named):
        if run.config["data"]["source"]["_target_"] != source:
            continue
        split = pd.read_csv(run.path / SPLIT, dtype=str, keep_default_na=False)
        if seen := len(judged & set(split.loc[split["split"] == "train", "sample_id"])):
            it = "it" if str(run.path) == named else f"its weights began as those of {run.path}, which"
            raise InputError(
                f"{key}={named}: {it} has learned from {seen} of this run's validation or test images: give this run "
                f"that split (data.split_file={run.path}/split.csv), or train another one."
            )


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
