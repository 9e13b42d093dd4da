"""Weights & Biases as a guest: offline unless asked, never a reason to stop or to wait, no path of the user's in it."""

import functools
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

import wandb
from pytorch_lightning.loggers import WandbLogger

from vesalius.runs.privacy import without_paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

Mode = Literal["offline", "online"]
_WAIT_SECONDS = 20


def _never_stops(method: Callable[..., None]) -> Callable[..., None]:
    """Whatever ails the tracker is said once, and the run goes on without it."""

    @functools.wraps(method)
    def guarded(self: "WandbTracker", *arguments: Any, **options: Any) -> None:
        if self.failed:
            return
        try:
            method(self, *arguments, **options)
        except Exception as error:
            self.failed = True
            logger.warning("W&B is off for the rest of this run: %s", error)

    return guarded


class WandbTracker(WandbLogger):
    """One W&B run for one run folder.

    Args:
        project: W&B project.
        mode: `online` sends while training, where a key is there and the server answers; else the run is
            kept in `wandb/` of the run folder, to be sent later with `wandb sync`.
        entity: W&B team or user.
        tags: shown beside the run.
    """

    def __init__(
        self,
        project: str = "vesalius",
        mode: Mode = "offline",
        entity: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {"project": project, "entity": entity, "tags": tags}
        self._wanted: Mode = mode
        self.failed = False
        super().__init__(project=project, offline=True, log_model=False)

    @_never_stops
    def begin(self, folder: Path, config: Mapping[str, Any], name: str) -> None:
        """Open the run with the frozen config, once, before anything else is logged; a resumed run, the same one."""
        mode, reason = choose_mode(self._wanted)
        if reason:
            logger.warning("%s", reason)
        # Artifacts and debug logs would otherwise go to the user's home and name its paths.
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
        os.environ.setdefault("WANDB_SILENT", "true")
        options = {key: value for key, value in self._options.items() if value is not None}
        options |= {"dir": str(folder), "config": without_paths(config), "name": name}
        options |= {"id": _run_id(folder), "resume": "allow", "reinit": "finish_previous"}
        try:
            self._experiment = wandb.init(**options, mode=mode, settings=_settings())
        except Exception as error:
            if mode == "offline":
                raise
            logger.warning("W&B stays offline: %s", error)
            self._experiment = wandb.init(**options, mode="offline", settings=_settings())
        self._experiment.define_metric("epoch")
        self._experiment.define_metric("*", step_metric="epoch")

    @_never_stops
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row an epoch; Lightning calls this with the metrics that the module logged."""
        if self._experiment is not None:
            self._experiment.log(dict(metrics))

    @_never_stops
    def show(self, name: str, figure: "Figure") -> None:
        """Log a picture while training."""
        if self._experiment is not None:
            self._experiment.log({name: wandb.Image(figure)})

    @_never_stops
    def finish(self, summary: Mapping[str, Any], figures: Mapping[str, "Figure"]) -> None:
        """Add the final numbers and pictures and close the run."""
        run = self._experiment
        if run is None:
            return
        if figures:
            run.log({f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()})
        for key, value in summary.items():
            run.summary[key] = value
        where = Path(run.settings.sync_dir) if run.settings.mode == "offline" else None
        run.finish()
        if where is not None:
            logger.info("W&B kept this run offline; send it with: wandb sync %s", where.name)


def choose_mode(wanted: Mode) -> tuple[Mode, str | None]:
    """`online` only where it can work at once; otherwise `offline` with the reason."""
    if wanted == "offline":
        return "offline", None
    if not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        return "offline", "W&B stays offline: no key was found. Log in with `wandb login`, then use mode=online."
    server = urlparse(wandb.Settings().base_url)
    port = server.port or (80 if server.scheme == "http" else 443)
    try:
        socket.create_connection((server.hostname or "", port), timeout=2).close()
    except OSError as error:
        return "offline", f"W&B stays offline: its server does not answer ({error})."
    return "online", None


def _settings() -> wandb.Settings:
    """Nothing of the machine, its code or its packages is sent; nothing waits for longer than a person would."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_WAIT_SECONDS,
        finish_timeout=_WAIT_SECONDS,
    )


def _run_id(folder: Path) -> str:
    """Drawn at the first attempt and kept, so that a resumed run is the same one in W&B."""
    path = folder / "wandb" / "id"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()
