"""`python -m vesalius.commands.embed DIR`: features of every sample from a run's encoder, as a table."""

import sys
from pathlib import Path
from typing import Any

from vesalius.config.checks import check_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.skipped import write_skipped
from vesalius.evaluation.data_compatibility import check_fit, warn_of_known_patients
from vesalius.evaluation.embedding import every_sample, extractor_hash, feature_batches, write_features
from vesalius.evaluation.inference import inference_device
from vesalius.launch.worker import enter, leave
from vesalius.runs.run_folder import SPLIT, RunFolder, write_json
from vesalius.terminal import command_console, show_progress
from vesalius.training.checkpoints import load_checkpoint, restore_model

FEATURES, ABOUT = "features.csv", "features.json"


def embed(path: Path) -> None:
    """Write `features.csv`, and `features.json` with the encoder's hash, into a folder inside the run's."""
    with RunFolder(path).discard_if_refused() as folder:
        _embed(folder)


def _embed(folder: RunFolder) -> None:
    config = folder.config
    run = RunFolder(config["run"])
    checkpoint = load_checkpoint(run.best)
    # Not from the checkpoint, which does not hold where the data are: it may go to others.
    trained, facts = run.config, Facts.from_dict(checkpoint["facts"])
    # What the model's family needs besides a source, its datamodule above all, is that of the run.
    config = {**config, "data": {**trained["data"], **(config["data"] or {})}}
    check_config(config)
    model = restore_model(checkpoint)
    data = every_sample(config["data"], facts)
    fingerprint = data.source.fingerprint()
    _set_up(data, facts, run, other_data=folder.config["data"] is not None, origin=checkpoint["provenance"])
    write_skipped(data, folder.path)
    batches = feature_batches(model, data, inference_device(trained["trainer"]))
    shown = show_progress(batches, len(data.table), "embed", size=lambda batch: len(batch[0]))
    rows, dim = write_features(shown, data.table, folder.path / FEATURES)
    about = {
        "schema": 1,
        "extractor": extractor_hash(model, checkpoint["config"]["model"]),
        "dim": dim,
        "rows": rows,
        "classes": list(data.source.classes),
        "run_name": trained["name"],
        "data_fingerprint": fingerprint,
    }
    write_json(folder.path / ABOUT, about)
    console = command_console()
    console.print(f"{rows} samples, {dim} features each; extractor {about['extractor']}", highlight=False)
    console.print(f"Written to: {folder.path / FEATURES}", soft_wrap=True, highlight=False)


def _set_up(data: ImageDataModule, facts: Facts, run: RunFolder, *, other_data: bool, origin: dict[str, Any]) -> None:
    """Set up the run's own data with the run's split, or other data.

    Args:
        data: to set up.
        facts: of the run.
        run: with the split.
        other_data: whether the data are not the run's.
        origin: provenance of the run.

    Raises:
        InputError: for data that the model does not take, or the run's own under another name.
    """
    if not other_data:
        data.reuse_split(run.path / SPLIT, origin.get("split"))
    elif data.source.fingerprint() == origin.get("data"):
        raise InputError(
            "data: these are the images that the run was trained on: leave out data=..., so that the table names each "
            "sample's split."
        )
    data.setup("test" if other_data else None)
    check_fit(data, facts, targets=False)
    if other_data:
        warn_of_known_patients(data, run, "what is measured on their features is")


if __name__ == "__main__":
    leave(enter(embed, sys.argv[1:]))
