"""What a run goes on from, its own last checkpoint or that of the run that it continues, and what has changed since."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.data.splits.file import load_run_split, split_hash
from vesalius.launch.resume_despite import is_despite, refusal
from vesalius.models.schedules import follows_horizon
from vesalius.runs.provenance.changes import code_changes, source_hash
from vesalius.runs.redaction import without_paths
from vesalius.runs.run_folder import SPLIT, RunFolder
from vesalius.training.checkpoint_files import DurableCheckpoints
from vesalius.training.checkpoints import find_resumable, load_checkpoint

logger = logging.getLogger("vesalius")


class Start:
    """Where a run starts from.

    Args:
        folder: of the run; its config's `resume` names another run where it continues that one to another number of
            epochs.
        config: of the run.

    Attributes:
        path: the checkpoint from which training goes on; None for a run that begins.
        content: of the checkpoint, until nothing needs it; empty for a run that begins.
        provenance: of the checkpoint; empty for a run that begins.
        split: the file of the split to keep.

    Raises:
        InputError: where there is a checkpoint and it cannot be read, and for a schedule that another number of epochs
            changes.
    """

    path: Path | None
    content: dict[str, Any]

    def __init__(self, folder: RunFolder, config: Mapping[str, Any]) -> None:
        self.folder, self.config, self.split = folder, config, folder.path / SPLIT
        self.path, self.content = find_resumable(folder.checkpoints)
        self.continued: RunFolder | None = None
        if self.path is None and config.get("resume") is not None:
            self.continued = RunFolder(config["resume"])
            self.path, self.content = find_resumable(self.continued.checkpoints)
            self.split = self.continued.path / SPLIT
            if self.path is None:
                raise InputError(f"{self.continued.path} has no checkpoint to continue from: resume it as it is.")
        self.provenance: dict[str, Any] = self.content.get("provenance", {})
        within = self.content.get("position", {}).get("batches", 0) > 0
        self._epochs = int(self.content.get("epoch", -1)) + (0 if within else 1)
        self._horizon = self.content.get("config", {}).get("trainer", {}).get("max_epochs")
        if self.continued is not None:
            self._check_horizon()
        best = (self.continued or folder).best
        if self.path is not None and best.exists():
            load_checkpoint(best)  # a damaged one is found now, and not when training has ended

    def _check_horizon(self) -> None:
        """Refuse a number of epochs that the run has passed, or that its learning rates depend on."""
        epochs = self.config["trainer"]["max_epochs"]
        if epochs is not None and 0 <= epochs <= self._epochs:
            raise InputError(
                f"trainer.max_epochs={epochs}: {self._epochs} epochs are trained already: choose a larger number."
            )
        schedule = self.config["model"].get("schedule")
        if schedule is not None and follows_horizon(build(schedule, "model.schedule")):
            name = str(schedule["_target_"]).rpartition(".")[2]
            raise InputError(
                f"trainer.max_epochs={epochs}: the learning rates of {name} are a function of the number of epochs, "
                f"and those so far were of a run of {self._horizon}: start a new run, from the weights of this "
                "one with init_from if you like. Runs with model/schedule=constant or multistep can be continued."
            )

    def written_split(self) -> str | None:
        """Hash of the split that the run began with; None for a run that begins, or is older than such hashes.

        Raises:
            InputError: where `split.csv` holds another one, unless the user has allowed it.
        """
        written = self.provenance.get("split")
        if written is None or not self.split.exists() or split_hash(load_run_split(self.split)) == written:
            return written
        if not is_despite("split"):
            raise refusal(
                "split", f"{self.split} is not as the run wrote it: it was cut, or the splits of samples changed"
            )
        return None

    def check_data(self, fingerprint: str) -> None:
        """Refuse data of other content than those of the checkpoint, unless the user has allowed it.

        Raises:
            InputError: see above.
        """
        if self.provenance.get("data", fingerprint) != fingerprint and not is_despite("data"):
            raise refusal("data", "The content of the data set (files, or settings of how they are read) changed")

    def record(self, origin: dict[str, Any]) -> None:
        """Add to a run's provenance what it continues, and what has changed since it was stopped.

        Args:
            origin: of the attempt that begins.
        """
        origin["code"]["source"] = source_hash()
        changes: dict[str, Any] = {}
        if self.path is not None:
            if self._horizon != (now := self.config["trainer"]["max_epochs"]):
                changes["trainer.max_epochs"] = [self._horizon, now]
            if changed := code_changes(self.provenance):
                changes["code"] = changed
            for key in ("data", "split"):
                if self.provenance.get(key, origin[key]) != origin[key]:
                    changes[key] = [self.provenance[key], origin[key]]
        earlier = self.provenance.get("continued", [])
        if changes:
            logger.warning("The run goes on with changes that its provenance records: %s.", ", ".join(changes))
            run = {} if self.continued is None else {"run": self.continued.path.name}
            earlier = [*earlier, {**run, "epochs": self._epochs, **changes}]
        if earlier:
            origin["continued"] = earlier

    def copy_best(self) -> None:
        """Give a run that continues another one the best checkpoint so far, which may stay the best."""
        if self.continued is None or self.folder.best.exists() or not self.continued.best.exists():
            return
        best = load_checkpoint(self.continued.best)
        DurableCheckpoints().save_checkpoint({**best, "config": without_paths(dict(self.config))}, self.folder.best)
