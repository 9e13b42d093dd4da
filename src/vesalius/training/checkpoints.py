"""Checkpoints that can be moved, are loaded without pickle, and hold all that rebuilds their model."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from vesalius.config.allowed import check_allowed
from vesalius.config.build import build
from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.plain import checked
from vesalius.models.nets.tensor_files import load_tensors
from vesalius.runs.redaction import without_paths
from vesalius.training.checkpoint_files import PREVIOUS, is_damaged
from vesalius.training.position import can_resume_here

logger = logging.getLogger("vesalius")

_CURE = "Take it from a backup, or train again."
#: What every checkpoint holds, and what it holds for training to go on.
_CONTENT = {"config": dict, "facts": dict, "state_dict": dict, "provenance": dict, "epoch": int}
#: Of optimisers' states: numbers; and optimisers with states of other shapes, which no fused step reads.
_SCALARS, _OTHER_SHAPES = {"step", "mu_product", "eta", "mu"}, {"LBFGS", "Adafactor"}
_TRAINING = {"loops", "callbacks", "optimizer_states", "lr_schedulers", "global_step"}


class Checkpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint` that writes into the run's `checkpoints/` and remembers no absolute path.

    Args:
        filename: `best` or `last`, without the ending.
        monitor: a metric of the model; None keeps the latest.
        mode: `min` or `max`.
        save_top_k: how many to keep.
        every_n_epochs: how often to save.
        every_minutes: also save within an epoch, this long after the last time; None for not. Without `monitor` only.
        every_n_steps: the same after so many steps of the optimiser.

    Raises:
        InputError: for times or steps that are not above 0, or with `monitor`, which is measured after the epoch.
    """

    def __init__(
        self,
        filename: str,
        monitor: str | None = None,
        mode: str = "min",
        save_top_k: int = 1,
        every_n_epochs: int = 1,
        every_minutes: float | None = None,
        every_n_steps: int | None = None,
    ) -> None:
        for name, value in (("every_minutes", every_minutes), ("every_n_steps", every_n_steps)):
            if value is not None and not value > 0:
                raise InputError(f"callbacks.{filename}.{name}={value}: must be above 0; null saves after epochs only.")
            if value is not None and monitor is not None:
                raise InputError(
                    f"callbacks.{filename}.{name}={value}: {monitor} is measured after an epoch: leave it null."
                )
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
        self.every_minutes, self.every_n_steps = every_minutes, every_n_steps
        self._saved_at, self._saved_step = time.monotonic(), 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the run folder of now, which may have been moved."""
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count minutes and steps from here."""
        super().on_train_start(trainer, pl_module)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within the epoch when it is time, and a run could go on from here to the same end."""
        if (self.every_minutes is None and self.every_n_steps is None) or getattr(trainer, "fast_dev_run", False):
            return
        if can_resume_here(trainer, pl_module) and self._is_due(trainer):
            # Not by Lightning's own way, which would then leave out the one at the end of the epoch.
            trainer.save_checkpoint(Path(str(self.dirpath)) / f"{self.filename}.ckpt")
            self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save as Lightning does, and count minutes and steps from here."""
        super().on_train_epoch_end(trainer, pl_module)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _is_due(self, trainer: pl.Trainer) -> bool:
        """Whether enough steps were taken or enough time has passed on rank 0, whose clock counts for all."""
        if self.every_n_steps is not None and trainer.global_step - self._saved_step >= self.every_n_steps:
            return True
        if self.every_minutes is None:
            return False
        due = time.monotonic() - self._saved_at >= 60 * self.every_minutes
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

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

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what a checkpoint gave to the optimisers."""
        for optimizer in trainer.optimizers:
            check_optimizer(optimizer)

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
    if is_damaged(path):
        raise InputError(f"{path} is damaged: it differs from what was written. {_CURE}")
    try:
        checkpoint = load_tensors(path)
        for key in ("config", "facts", "provenance"):
            checked(checkpoint.get(key) if isinstance(checkpoint, dict) else None)
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {error}. {_CURE}") from error
    lacking = sorted(
        key
        for key, kind in _CONTENT.items()
        if not isinstance(checkpoint.get(key) if isinstance(checkpoint, dict) else None, kind)
    )
    if lacking:
        raise InputError(f"{path} is not a checkpoint of Vesalius: it lacks {', '.join(lacking)}. {_CURE}")
    try:
        Facts.from_dict(checkpoint["facts"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of Vesalius: its facts are damaged ({error}). {_CURE}") from error
    return checkpoint  # type: ignore[no-any-return]


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuse restored states that are not of their weights' shapes; lay the others out as the weights are.

    A fused step of torch reads and writes as many numbers of a state as its weight has, whatever there is in memory.

    Raises:
        InputError: naming the state.
    """
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim") or kind.__name__ in _OTHER_SHAPES:
        return
    for parameter, states in optimizer.state.items():
        for name, value in states.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.shape != (torch.Size() if name in _SCALARS else parameter.shape):
                raise InputError(f"the checkpoint has a state {name} of the optimiser of another shape. {_CURE}")
            if value.stride() != parameter.stride() and name not in _SCALARS:
                states[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def load_initial(path: Path) -> dict[str, Any]:
    """Another run's checkpoint, to start from its weights.

    Raises:
        InputError: as `load_checkpoint`, for weights that are not numbers, and for a model that a config may not name.
    """
    checkpoint = load_checkpoint(path)
    check_allowed({"model": checkpoint["config"].get("model")})
    weights = checkpoint["state_dict"].items()
    broken = [name for name, one in weights if not isinstance(one, torch.Tensor) or bool(one.isnan().any())]
    if broken:
        raise InputError(f"{path} has weights that are not finite: {format_list(broken)}. {_CURE}")
    return checkpoint


def find_resumable(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint from which a run goes on: `last.ckpt`, or where that is damaged the one before.

    Args:
        folder: of the checkpoints.

    Returns:
        Its path and content; None and nothing for a run that has saved none yet.

    Raises:
        InputError: where none of those that are there can be read.
    """
    problems: list[str] = []
    for name in ("last.ckpt", PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            checkpoint = load_checkpoint(path)
            lacking = sorted(_TRAINING - set(checkpoint))
            if lacking:
                raise InputError(f"{path} holds weights only: it lacks {', '.join(lacking)}. {_CURE}")
        except InputError as error:
            problems += error.problems
            continue
        for problem in problems:
            logger.warning("%s The run goes on from %s, of epoch %d.", problem, name, checkpoint["epoch"])
        return path, checkpoint
    if problems:
        raise InputError(problems)
    return None, {}


def restore_model(checkpoint: dict[str, Any]) -> pl.LightningModule:
    """Rebuild the LightningModule of a checkpoint, with its weights, in evaluation mode.

    Raises:
        InputError: for weights that do not fit the model, or are not finite.
    """
    facts, config = Facts.from_dict(checkpoint["facts"]), checkpoint["config"].get("model")
    check_size(checkpoint["state_dict"], config, facts)
    model: pl.LightningModule = build(config, "model", facts=facts)
    check_weights(checkpoint["state_dict"], model)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def check_size(weights: dict[str, Any], config: Any, facts: Facts) -> None:
    """Refuse a config of a model of other sizes than a checkpoint's weights have, before it takes any memory.

    Raises:
        InputError: for other names or shapes of weights, and for code that a config may not name.
    """
    if not isinstance(config, dict) or "_target_" not in config:
        raise InputError(f"the checkpoint's config names no model. {_CURE}")
    try:
        with torch.device("meta"):  # where tensors have shapes and no content
            outline: pl.LightningModule = build(config, "model", facts=facts)
    except InputError:
        raise
    except Exception as error:  # a model of the user's own may need values
        logger.debug("the model cannot be outlined: %s", error)
        return
    _check_shapes(weights, outline.state_dict())


def check_weights(weights: dict[str, Any], model: pl.LightningModule) -> None:
    """Refuse weights that a model cannot have.

    Raises:
        InputError: for other names or shapes than the model's, and for values that are not finite.
    """
    _check_shapes(weights, model.state_dict())
    learned = {name for name, _ in model.named_parameters()}  # a buffer may hold an infinite mask
    broken = [
        name for name, value in weights.items() if bool((~value.isfinite() if name in learned else value.isnan()).any())
    ]
    if broken:
        raise InputError(f"the checkpoint has weights that are not finite: {format_list(broken)}. {_CURE}")


def _check_shapes(weights: dict[str, Any], own: dict[str, Any]) -> None:
    strange = sorted(weights.keys() ^ own.keys())
    if strange:
        raise InputError(f"the checkpoint and the model of its config differ in {format_list(strange)}. {_CURE}")
    unlike = [name for name, value in own.items() if getattr(weights[name], "shape", None) != value.shape]
    if unlike:
        raise InputError(f"the checkpoint has weights of other shapes than the model: {format_list(unlike)}. {_CURE}")
