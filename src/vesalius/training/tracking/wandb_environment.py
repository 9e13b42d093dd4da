"""Settings of W&B's own environment variables, for what the config leaves open."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["offline", "online", "disabled"]

_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


@dataclass(frozen=True)
class WandbEnvironment:
    """What the environment asks of W&B; None and empty where it asks for nothing.

    Attributes:
        mode: of `WANDB_MODE`, or `disabled` by `WANDB_DISABLED`; a run of a W&B sweep agent is online.
        project: of `WANDB_PROJECT`.
        name: of `WANDB_NAME`.
        group: of `WANDB_RUN_GROUP`.
        tags: of `WANDB_TAGS`, separated by commas.
        directory: of `WANDB_DIR`, the parent of `wandb/`.
        run_id: that a W&B sweep agent gave to this run.
    """

    mode: Mode | None = None
    project: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = field(default_factory=tuple)
    directory: str | None = None
    run_id: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "WandbEnvironment":
        """The settings of an environment. `WANDB_ENTITY`, the key and the server are read by W&B itself."""
        agent = bool(environ.get("WANDB_SWEEP_ID"))
        mode = _MODES.get(environ.get("WANDB_MODE", "").lower(), "online" if agent else None)
        if environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
            mode = "disabled"
        return cls(
            mode=mode,
            project=environ.get("WANDB_PROJECT") or None,
            name=environ.get("WANDB_NAME") or None,
            group=environ.get("WANDB_RUN_GROUP") or None,
            tags=tuple(tag.strip() for tag in environ.get("WANDB_TAGS", "").split(",") if tag.strip()),
            directory=environ.get("WANDB_DIR") or None,
            run_id=environ.get("WANDB_RUN_ID") if agent else None,
        )
