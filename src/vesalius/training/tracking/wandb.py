"""Weights & Biases as a guest: offline unless asked, never a reason to stop or to wait, no path of the user's in it."""

import contextlib
import logging
import os
import secrets
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import wandb

from vesalius.runs.redaction import text_was_found, without_paths
from vesalius.runs.run_folder import HISTORY, prune_reason
from vesalius.runs.sweep_folder import SWEEP
from vesalius.terminal import command_console
from vesalius.training.tracking import wandb_media
from vesalius.training.tracking.base import (
    Answers,
    Told,
    Tracker,
    flat_metrics,
    model_name,
    never_stops,
    source_name,
)
from vesalius.training.tracking.wandb_artifacts import artifacts
from vesalius.training.tracking.wandb_server import Mode, choose_mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

_TAG_LENGTH = 64  # W&B takes no longer ones
_UNSENT = "unsent"  # marks an online run that the server did not take in time


class WandbTracker(Tracker):
    """One W&B run for one run folder, the same one when the run is resumed.

    A sweep is a group, named by its folder; the model is the job's type; data set and task are tags.

    Args:
        project: W&B project.
        mode: `online` sends while training, where a key is there and the server answers; else the run is
            kept in `wandb/` of the run folder, to be sent later with `wandb sync`.
        entity: W&B team or user.
        group: of runs; null for the sweep's.
        tags: more of them.
        images: whether images of patients go along: the worst answers, and figures that show images. Those of data in
            which the run's audit found text in pixels never do.
        checkpoint: whether the best checkpoint goes along as an artifact.
        wait: seconds that the server may hold the run up at its start, and again at its end; what was not sent by
            then is kept.
    """

    label = "W&B"

    def __init__(
        self,
        project: str = "vesalius",
        mode: Mode = "offline",
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        images: bool = True,
        checkpoint: bool = True,
        wait: float = 4.0,
    ) -> None:
        super().__init__()
        self._project = {"project": project, "entity": entity}
        self._mode: Mode = mode
        self._group, self._tags = group, list(tags or [])
        self._images, self._checkpoint, self._wait = images, checkpoint, wait
        self._folder = Path()
        self._run: Any = None

    @property
    def experiment(self) -> Any:
        """The W&B run; None before it has begun."""
        return self._run

    @never_stops
    def begin(self, folder: Path, config: Told, name: str, task: str | None = None) -> None:
        """Open the run with the frozen config, once, before anything else is logged."""
        started = time.monotonic()
        self._folder = folder = folder.absolute()  # artifacts are found from wherever they are sent
        self._images = self._images and not text_was_found(folder)
        # Staged artifacts and cached images would otherwise go to the user's home. Said first: W&B looks once.
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
        os.environ["WANDB_CACHE_DIR"] = str(folder / "wandb" / "cache")
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else even an offline run tells the server of itself
        mode, reason = choose_mode(self._mode, self._wait)
        if reason:
            logger.warning("%s", reason)
        options: dict[str, Any] = {"id": _run_id(folder), "resume": "allow", "reinit": "finish_previous"}
        options |= {"dir": str(folder), **self._project, **self._described(config, name, task)}
        options |= {"config": without_paths(config)}
        try:
            left = max(1.0, self._wait - (time.monotonic() - started))
            self._run = wandb.init(**options, mode=mode, settings=_settings(left, self._wait))
        except Exception as error:
            if mode == "offline":
                raise
            logger.warning("W&B stays offline: %s", error)
            wandb.teardown()  # its process would call the run's id taken
            self._run = wandb.init(**options, mode="offline", settings=_settings(self._wait, self._wait))
        sweep = self._sweep()
        if sweep is not None and self._run.settings.mode == "offline":
            _link(Path(self._run.settings.sync_dir), sweep / "wandb")
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def _sweep(self) -> Path | None:
        parent = self._folder.resolve().parent
        return parent if (parent / SWEEP).is_file() else None

    def _described(self, config: Told, name: str, task: str | None) -> dict[str, Any]:
        sweep = self._sweep()
        tags = [tag[:_TAG_LENGTH] for tag in (source_name(config), task, *self._tags) if tag]
        return {
            "name": name if sweep is None else f"{name}-{self._folder.name}",
            "group": self._group or (None if sweep is None else sweep.name),
            "job_type": model_name(config) or None,
            "tags": list(dict.fromkeys(tags)),
        }

    @never_stops
    def log_epoch(self, row: Mapping[str, float]) -> None:
        """One row, sent at once."""
        if self._run is not None:
            # The epoch as the step: an epoch that a resumed run does again is not counted twice.
            self._run.log(dict(row), step=int(row["epoch"]), commit=True)

    @never_stops
    def show(self, name: str, figure: "Figure") -> None:
        """Add a picture to the row of the epoch; made images count as images of patients, whom they may resemble."""
        if self._run is not None and self._images:
            self._run.log({name: wandb.Image(figure)}, step=self.epoch)

    @never_stops
    def finish(self, metrics: Told, figures: "Mapping[str, Figure]", answers: Answers | None = None) -> None:
        """Add final numbers, charts, pictures and artifacts, close the run, and say how to send it."""
        if self._run is None:
            return
        try:
            self._add(metrics, figures, answers)
        finally:
            self._close(0)

    def _add(self, metrics: Told, figures: "Mapping[str, Figure]", answers: Answers | None) -> None:
        run = self._run
        run.summary.update({**_best_row(self._folder, metrics), **flat_metrics(metrics)})
        for artifact in artifacts(self._folder, run.id, metrics, checkpoint=self._checkpoint):
            run.log_artifact(artifact, aliases=["best"] if artifact.type == "model" else None)
        shown = self._shown(metrics, figures, answers)
        if shown:
            run.log(shown)

    def _shown(self, metrics: Told, figures: "Mapping[str, Figure]", answers: Answers | None) -> dict[str, Any]:
        shown = wandb_media.pictures(figures, self._folder / "figures", images=self._images)
        if answers is not None:
            decision = (metrics.get("decision") or {}).get("threshold", "argmax")
            shown |= wandb_media.charts(answers, decision)
            if self._images:
                shown |= wandb_media.worst_images(answers, decision)
        return shown

    @never_stops
    def finalize(self, status: str) -> None:
        """Close a run that failed or was interrupted; one that went well is not at its end yet."""
        if status != "success" and self._run is not None:
            self._close(1 if prune_reason(self._folder) is None else 0)

    def _close(self, exit_code: int) -> None:
        """End the run, however it went, and say how to send what the server does not have."""
        run, self._run = self._run, None
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            (Path(run.settings.sync_dir) / _UNSENT).touch()
        finally:
            line = sync_line(self._folder)
            if line:
                logger.info("W&B kept this run here; send it with: %s", line)
                command_console().print(f"To send it to W&B: {line}", soft_wrap=True, highlight=False, markup=False)


def sync_line(folder: Path) -> str | None:
    """The command that sends all that W&B keeps of a run, seen from the working directory; None where all is sent.

    A run that was resumed offline is several folders, and W&B needs them all.

    Args:
        folder: of the run.
    """
    kept = [path for path in (folder / "wandb").glob("offline-run-*") if not list(path.glob("*.synced"))]
    kept += [path.parent for path in (folder / "wandb").glob(f"run-*/{_UNSENT}")]
    kept.sort(key=lambda path: path.name.removeprefix("offline-"))  # the time is what follows
    return shlex.join(["wandb", "sync", *map(os.path.relpath, kept)]) if kept else None


def _settings(init_timeout: float, finish_timeout: float) -> wandb.Settings:
    """Nothing of the machine, its name, its code or its packages is sent; nothing waits longer than it may."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        host="",
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=init_timeout,
        finish_timeout=finish_timeout,
        finish_timeout_raises=True,
    )


def _best_row(folder: Path, metrics: Told) -> dict[str, float]:
    """What `history.csv` says of the epoch that the best checkpoint is of: the last epoch's are not its numbers."""
    epoch = (metrics.get("monitor") or {}).get("epoch")
    if epoch is None or not (folder / HISTORY).is_file():
        return {}
    history = pd.read_csv(folder / HISTORY)
    rows = history[history["epoch"] == epoch].drop(columns=["epoch", "step", "seconds"], errors="ignore")
    return {str(name): float(value) for name, value in rows.iloc[-1].dropna().items()} if len(rows) else {}


def _link(run: Path, folder: Path) -> None:
    """Have `wandb leet` and `wandb sync` see the runs of a sweep in one folder, where there are symbolic links."""
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        (folder / run.name).symlink_to(os.path.relpath(run.resolve(), folder.resolve()), target_is_directory=True)


def _run_id(folder: Path) -> str:
    """Drawn at the first attempt and kept, so that a resumed run is the same one in W&B."""
    path = folder / "wandb" / "id"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()
