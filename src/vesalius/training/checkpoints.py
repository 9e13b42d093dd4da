"""Checkpoints that can be moved, are loaded without pickle, and hold all that rebuilds their model."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.runs.redaction import without_paths


class Checkpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint` that writes into the run's `checkpoints/` and remembers no absolute path.

    Args:
        filename: `best` or `last`, without the ending.
        monitor: a metric of the model; None keeps the latest.
        mode: `min` or `max`.
        save_top_k: how many to keep.
        every_n_epochs: how often to save.
    """

    def __init__(
        self,
        filename: str,
        monitor: str | None = None,
        mode: str = "min",
        save_top_k: int = 1,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(
            filename=filename,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            every_n_epochs=every_n_epochs,
            # At the very end of an epoch, after validation: a resumed run starts from a whole epoch.
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the run folder of now, which may have been moved."""
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def state_dict(self) -> dict[str, Any]:
        """Lightning's state with file names where it has absolute paths."""
        state: dict[str, Any] = super().state_dict()
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = Path(state[key]).name
        state["best_k_models"] = {Path(path).name: score for path, score in state["best_k_models"].items()}
        state["dirpath"] = ""
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of `state_dict`, in the folder of this run: Lightning deletes old checkpoints by these paths.

        Raises:
            InputError: for a name that is no checkpoint's, as in a checkpoint from someone else.
        """
        folder = Path(str(self.dirpath))
        state = dict(state_dict)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = _inside(folder, state[key]) if state[key] else ""
        state["best_k_models"] = {_inside(folder, name): score for name, score in state["best_k_models"].items()}
        state["dirpath"] = str(folder)
        super().load_state_dict(state)
        self.current_score = state["current_score"]  # which Lightning stores and does not restore


def _inside(folder: Path, name: object) -> str:
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".ckpt"):
        raise InputError(f"the checkpoint names {name!r}, which is no checkpoint of its run: take it from a backup.")
    return str(folder / name)


class CheckpointMetadata(Callback):
    """Adds config, facts and provenance to every checkpoint, as plain containers, so that it can be rebuilt."""

    def __init__(self) -> None:
        self.contents: dict[str, Any] = {}

    def fill(self, config: dict[str, Any], facts: Facts, provenance: dict[str, Any]) -> None:
        """Set what to write, once the data are known; of the user's paths only the last parts."""
        self.contents = {"config": without_paths(config), "facts": facts.to_dict(), "provenance": provenance}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the three dictionaries, and the value of the monitored metric."""
        checkpoint.update(self.contents)
        monitored = trainer.callback_metrics.get(self.contents["config"]["monitor"]["name"])
        checkpoint["monitored"] = None if monitored is None else float(monitored)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it.

    Raises:
        InputError: where the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: the run saved no such checkpoint.")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    lacking = {"config", "facts", "state_dict"} - set(checkpoint)
    if lacking:
        raise InputError(f"{path} is not a checkpoint of Vesalius: it lacks {', '.join(sorted(lacking))}.")
    return checkpoint


def restore_model(checkpoint: dict[str, Any]) -> pl.LightningModule:
    """Rebuild the LightningModule of a checkpoint, with its weights, in evaluation mode."""
    facts = Facts.from_dict(checkpoint["facts"])
    model: pl.LightningModule = build(checkpoint["config"]["model"], "model", facts=facts)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()
