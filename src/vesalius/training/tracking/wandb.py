"""Weights & Biases: offline by default, never stops or delays a run, and receives no path of the user's."""

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

from vesalius.runs.redaction import text_was_found, without_paths
from vesalius.runs.run_folder import HISTORY, prune_reason
from vesalius.runs.sweep_folder import SWEEP
from vesalius.terminal import command_console
from vesalius.training.tracking.base import (
    Content,
    Outputs,
    Tracker,
    flat_metrics,
    model_name,
    never_stops,
    source_name,
)
from vesalius.training.tracking.wandb_environment import Mode, WandbEnvironment
from vesalius.training.tracking.wandb_paths import hide_paths, name_files_relatively
from vesalius.training.tracking.wandb_server import choose_mode

if TYPE_CHECKING:
    import wandb
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

_TAG_LENGTH = 64  # W&B takes no longer ones
_UNSENT = "unsent"  # marks an online run that the server did not take in time


class WandbTracker(Tracker):
    """One W&B run for one run folder, the same one when the run is resumed.

    A sweep is a group, named by its folder; the model is the job's type; data set and task are tags. Options that are
    None take W&B's environment variables (`WandbEnvironment`) before their defaults.

    Args:
        project: W&B project; by default `vesalius`.
        mode: by default `offline`; `disabled` keeps no W&B run at all. `online` sends while training, if a key is found
            and the server replies; otherwise the run is kept in `wandb/` of the run folder, to be sent later with
            `wandb sync`.
        entity: W&B team or user.
        group: of runs; by default the sweep's folder.
        tags: added to data set, task and the environment's.
        images: whether images of patients are sent: the worst errors, and figures that show images; never those of data
            in which the run's audit found text in pixels.
        checkpoint: whether the best checkpoint is sent as an artifact.
        wait: seconds that the server may delay the run at its start, and again at its end; what was not sent by then is
            kept.
    """

    label = "W&B"

    def __init__(
        self,
        project: str | None = None,
        mode: Mode | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        images: bool = True,
        checkpoint: bool = True,
        wait: float = 4.0,
    ) -> None:
        super().__init__()
        self._environment = environment = WandbEnvironment.read()
        self._project = {"project": project or environment.project or "vesalius", "entity": entity}
        self._mode: Mode = mode or environment.mode or "offline"
        self._group, self._tags = group or environment.group, [*(tags or []), *environment.tags]
        self._images, self._checkpoint, self._wait = images, checkpoint, wait
        self._folder = Path()
        self._run: Any = None

    @property
    def experiment(self) -> Any:
        """The W&B run; None before it has begun."""
        return self._run

    @never_stops
    def begin(self, folder: Path, config: Content, name: str, task: str | None = None) -> None:
        """Open the run with the frozen config, once, before anything else is logged."""
        if self._mode == "disabled":
            return
        started = time.monotonic()
        self._folder = folder = folder.absolute()  # artifacts are found from wherever they are sent
        self._images = self._images and not text_was_found(folder)
        # Staged artifacts and cached images would otherwise go to the user's home. Set first: W&B reads it once.
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
        os.environ["WANDB_CACHE_DIR"] = str(folder / "wandb" / "cache")
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # otherwise even an offline run contacts the server
        import wandb  # here, and so everywhere in these files: it takes .6 s, and `begin` comes after the first step

        name_files_relatively()
        mode, reason = choose_mode(self._mode, self._wait)
        if reason:
            logger.warning("%s", reason)
        options: dict[str, Any] = {
            "id": _run_id(folder, self._environment.run_id),
            "resume": "allow",
            "reinit": "finish_previous",
        }
        options |= {
            "dir": self._environment.directory or str(folder),
            **self._project,
            **self._described(config, name, task),
        }
        options |= {"config": without_paths(config)}
        try:
            left = max(1.0, self._wait - (time.monotonic() - started))
            self._run = wandb.init(**options, mode=mode, settings=_settings(left, self._wait))
        except Exception as error:
            if mode == "offline":
                raise
            logger.warning("W&B stays offline: %s", error)
            wandb.teardown()  # its process would report that the run's id is taken
            self._run = wandb.init(**options, mode="offline", settings=_settings(self._wait, self._wait))
        sweep = self._sweep()
        if sweep is not None and self._run.settings.mode == "offline":
            _link(Path(self._run.settings.sync_dir), sweep / "wandb")
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def _sweep(self) -> Path | None:
        parent = self._folder.resolve().parent
        return parent if (parent / SWEEP).is_file() else None

    def _described(self, config: Content, name: str, task: str | None) -> dict[str, Any]:
        sweep = self._sweep()
        tags = [tag[:_TAG_LENGTH] for tag in (source_name(config), task, *self._tags) if tag]
        return {
            "name": self._environment.name or (name if sweep is None else f"{name}-{self._folder.name}"),
            "group": self._group or (None if sweep is None else sweep.name),
            "job_type": model_name(config) or None,
            "tags": list(dict.fromkeys(tags)),
        }

    @never_stops
    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log one row, sent at once."""
        if self._run is not None:
            # The epoch as the step: an epoch that a resumed run repeats is not counted twice.
            self._run.log(dict(row), step=int(row["epoch"]), commit=True)

    @never_stops
    def show(self, name: str, figure: "Figure") -> None:
        """Add a figure to the row of the epoch; synthetic images count as those of patients, whom they may resemble."""
        if self._run is not None and self._images:
            import wandb

            self._run.log({name: wandb.Image(figure)}, step=self.epoch)

    @never_stops
    def finish(self, metrics: Content, figures: "Mapping[str, Figure]", outputs: Outputs | None = None) -> None:
        """Add final metrics, charts, figures and artifacts, close the run, and log how to send it."""
        if self._run is None:
            return
        try:
            self._add(metrics, figures, outputs)
        finally:
            self._close(0)

    def _add(self, metrics: Content, figures: "Mapping[str, Figure]", outputs: Outputs | None) -> None:
        from vesalius.training.tracking.wandb_artifacts import artifacts

        run = self._run
        run.summary.update({**_best_row(self._folder, metrics), **flat_metrics(metrics)})
        for artifact in artifacts(self._folder, run.id, metrics, checkpoint=self._checkpoint):
            run.log_artifact(artifact, aliases=["best"] if artifact.type == "model" else None)
        media = self._media(metrics, figures, outputs)
        if media:
            run.log(media)

    def _media(self, metrics: Content, figures: "Mapping[str, Figure]", outputs: Outputs | None) -> dict[str, Any]:
        from vesalius.training.tracking import wandb_media

        media = wandb_media.pictures(figures, self._folder / "figures", images=self._images)
        if outputs is not None:
            decision = (metrics.get("decision") or {}).get("threshold", "argmax")
            media |= wandb_media.charts(outputs, decision)
            if self._images:
                media |= wandb_media.worst_images(outputs, decision)
        return media

    @never_stops
    def finalize(self, status: str) -> None:
        """Close a run that failed or was interrupted; after success, `finish` is still to come."""
        if status != "success" and self._run is not None:
            self._close(1 if prune_reason(self._folder) is None else 0)

    def _close(self, exit_code: int) -> None:
        """End the run, and log how to send what the server does not have."""
        run, self._run = self._run, None
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            (Path(run.settings.sync_dir) / _UNSENT).touch()
        finally:
            hide_paths(self._folder, Path(run.settings.sync_dir).parent)
            line = sync_line(self._folder, self._environment.directory)
            if line:
                logger.info("W&B keeps this run on disk; send it with: %s", line)
                command_console().print(f"To send it to W&B: {line}", soft_wrap=True, highlight=False, markup=False)


def sync_line(folder: Path, directory: str | None = None) -> str | None:
    """The command that sends what W&B keeps of a run, for the working directory; None when all is sent.

    A run that was resumed offline is several folders, and W&B needs them all.

    Args:
        folder: of the run.
        directory: parent of W&B's folder; None for the run's folder.
    """
    place = Path(directory or folder) / "wandb"
    own = "*" if directory is None else f"*-{_run_id(folder)}"  # a shared folder holds other runs too
    kept = [path for path in place.glob(f"offline-run-{own}") if not list(path.glob("*.synced"))]
    kept += [path.parent for path in place.glob(f"run-{own}/{_UNSENT}")]
    kept.sort(key=lambda path: path.name.removeprefix("offline-"))  # the time follows
    return shlex.join(["wandb", "sync", *map(os.path.relpath, kept)]) if kept else None


def _settings(init_timeout: float, finish_timeout: float) -> "wandb.Settings":
    """Settings that send nothing of the machine, its code or its packages, and limit every wait."""
    import wandb

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


def _best_row(folder: Path, metrics: Content) -> dict[str, float]:
    """The row of `history.csv` for the epoch of the best checkpoint."""
    epoch = (metrics.get("monitor") or {}).get("epoch")
    if epoch is None or not (folder / HISTORY).is_file():
        return {}
    history = pd.read_csv(folder / HISTORY)
    rows = history[history["epoch"] == epoch].drop(columns=["epoch", "step", "seconds"], errors="ignore")
    return {str(name): float(value) for name, value in rows.iloc[-1].dropna().items()} if len(rows) else {}


def _link(run: Path, folder: Path) -> None:
    """Link a run into one folder of its sweep for `wandb leet` and `wandb sync`, if the file system has links."""
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        (folder / run.name).symlink_to(os.path.relpath(run.resolve(), folder.resolve()), target_is_directory=True)


def _run_id(folder: Path, given: str | None = None) -> str:
    """The run's id in W&B: given or drawn at the first attempt and kept, so that a resumed run is the same one."""
    path = folder / "wandb" / "id"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_text(given or secrets.token_hex(4))
    return path.read_text()
