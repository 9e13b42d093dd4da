"""Weights & Biases as a guest: offline unless asked, never a reason to stop or to wait, nothing private in it."""

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

import wandb
from pytorch_lightning.loggers import WandbLogger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

Mode = Literal["offline", "online"]


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
        super().__init__(project=project, offline=True, log_model=False)

    def begin(self, folder: Path, config: Mapping[str, Any], name: str) -> None:
        """Open the run with the frozen config, once, before anything else is logged."""
        mode, reason = choose_mode(self._wanted)
        if reason:
            logger.warning("%s", reason)
        # Artifacts and debug logs would otherwise go to the user's home and name its paths.
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))
        os.environ.setdefault("WANDB_SILENT", "true")
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            init_timeout=20,
        )
        options = {key: value for key, value in self._options.items() if value is not None}
        options |= {"dir": str(folder), "config": dict(config), "name": name, "settings": settings}
        try:
            self._experiment = wandb.init(**options, mode=mode, reinit="finish_previous")
        except Exception as error:  # a tracker is a guest: whatever ails it, the run goes on
            logger.warning("W&B is off for this run: %s", error)
            self._experiment = wandb.init(mode="disabled", reinit="finish_previous")
        self._experiment.define_metric("epoch")
        self._experiment.define_metric("*", step_metric="epoch")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row an epoch; Lightning calls this with the metrics that the module logged."""
        if self._experiment is not None:
            self._experiment.log(dict(metrics))

    def finish(self, summary: Mapping[str, Any], figures: Mapping[str, "Figure"]) -> None:
        """Add the final numbers and pictures and close the run."""
        run = self._experiment
        if run is None:
            return
        if figures:
            run.log({f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()})
        for key, value in summary.items():
            run.summary[key] = value
        offline = run.settings.mode == "offline"
        where = Path(run.settings.sync_dir) if offline else None
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
