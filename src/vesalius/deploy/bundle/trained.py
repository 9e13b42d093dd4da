"""What is exported: a finished run, or several as one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from vesalius.config.facts import Facts
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import ENSEMBLE, OOD, RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model


@dataclass(frozen=True)
class TrainedModel:
    """A model with all that a bundle tells of it.

    Attributes:
        model: in evaluation mode.
        facts: of its data.
        metrics: the content of `metrics.json`, its own: of an ensemble that of the ensemble.
        config: of the run, or of an ensemble's first member.
        name: for people.
        acquisition: how the training images were acquired, in plain containers; None where it is not known.
        ood: the file with the statistics of its features, if there is one.
        provenance: where it comes from.
    """

    model: pl.LightningModule
    facts: Facts
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    name: str
    acquisition: Any
    ood: Path | None
    provenance: Mapping[str, Any]


def trained_model(path: str | Path) -> TrainedModel:
    """The model of a run or of an ensemble.

    Raises:
        InputError: for a folder without a finished model.
    """
    if (Path(path) / ENSEMBLE).is_file():
        return _of_ensemble(path)
    folder = RunFolder(path)
    checkpoint = load_checkpoint(folder.best)
    config = folder.config
    return TrainedModel(
        model=restore_model(checkpoint),
        facts=Facts.from_dict(checkpoint["facts"]),
        metrics=folder.metrics,
        config=config,
        name=str(config["name"]),
        acquisition=checkpoint["provenance"].get("acquisition"),
        ood=_ood_of(folder.path),
        provenance=_provenance_of(folder, config),
    )


def _of_ensemble(path: str | Path) -> TrainedModel:
    from vesalius.deploy.ensemble.backend import EnsembleBackend
    from vesalius.deploy.ensemble.folder import EnsembleFolder

    ensemble, backend = EnsembleFolder(path), EnsembleBackend(path)
    members = [RunFolder(member) for member in ensemble.members]
    config = members[0].config
    first = _provenance_of(members[0], config)
    return TrainedModel(
        model=backend.module,
        facts=backend.facts,
        metrics=backend.metrics,
        config=config,
        name=f"{config['name']}, ensemble of {len(members)}",
        acquisition=backend.contract.acquisition.to_dict(),
        ood=_ood_of(members[0].path),
        provenance={**first, "checkpoint": {member.path.name: file_hash(member.best) for member in members}},
    )


def _ood_of(folder: Path) -> Path | None:
    return folder / OOD if (folder / OOD).is_file() else None


def _provenance_of(folder: RunFolder, config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run: its code, packages, data and seed, and the hash of its checkpoint."""
    net = config["model"].get("net") or config["model"].get("generator") or {}
    return {
        "model": str(config["model"].get("_target_")),
        "net": str(net.get("_target_")),
        "data": str(config["data"]["source"].get("_target_")),
        "trained": {key: value for key, value in folder.provenance.items() if key != "hardware"},
        "checkpoint": {"best": file_hash(folder.best)},
        "ended": folder.state.get("ended"),
    }
