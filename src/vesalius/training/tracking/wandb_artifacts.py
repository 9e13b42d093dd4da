"""The files of a run that W&B keeps as artifacts: the best checkpoint, and the split without names."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from vesalius.runs.reading import read_provenance
from vesalius.runs.run_folder import PROVENANCE, SPLIT

_SPLIT_COLUMNS = ["row", "patient", "split"]


def artifacts(folder: Path, identity: str, metrics: Mapping[str, Any], *, checkpoint: bool) -> list[Any]:
    """The artifacts of a finished run, with the fingerprint of its data in the metadata.

    Args:
        folder: of the run.
        identity: of the run in W&B.
        metrics: as in `metrics.json`.
        checkpoint: whether to include the best checkpoint.
    """
    found = []
    metadata = _metadata(folder)
    if (folder / SPLIT).is_file():
        split = wandb.Artifact(f"split-{identity}", type="split", metadata=metadata)
        with split.new_file("split.csv", encoding="utf-8") as file:
            csv.writer(file).writerows([_SPLIT_COLUMNS, *nameless_split(folder / SPLIT)])
        found.append(split)
    best = folder / "checkpoints" / "best.ckpt"
    if checkpoint and best.is_file():
        model = wandb.Artifact(f"model-{identity}", type="model", metadata={**metadata, **_selection(metrics)})
        # Never changed after this, so W&B need not copy it before it is sent.
        model.add_file(str(best), policy="immutable", skip_cache=True)
        found.append(model)
    return found


def nameless_split(path: Path) -> list[list[Any]]:
    """The rows of a `split.csv`, samples by their place in it, patients by a number in order of appearance."""
    numbers: dict[str, int] = {}
    rows: list[list[Any]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            rows.append([place, numbers.setdefault(row["group_id"], len(numbers)), row["split"]])
    return rows


def _metadata(folder: Path) -> dict[str, Any]:
    origin = read_provenance(folder / PROVENANCE)
    return {"data_fingerprint": origin.get("data"), "seed": origin.get("seed"), "code": origin.get("code")}


def _selection(metrics: Mapping[str, Any]) -> dict[str, Any]:
    monitor = metrics.get("monitor") or {}
    return {"monitor": monitor.get("name"), "value": monitor.get("best"), "epoch": monitor.get("epoch")}
