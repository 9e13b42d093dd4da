"""Where a run comes from: code, packages, hardware, command, data."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vesalius.runs.redaction import overrides_without_paths

PACKAGES = (
    "vesalius",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scikit-learn",
)


def provenance(
    *, overrides: list[str], fingerprint: str, split: str, acquisition: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Everything that decides whether two runs should be equal: plain containers without host name or user's paths.

    Args:
        overrides: as typed.
        fingerprint: of the data.
        split: hash of which sample is in which split.
        acquisition: how the training images were acquired, as far as their files state it.
        seed: of the run.
    """
    return {
        "code": code_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": _hardware(),
        "command": ["vesalius", "train", *overrides_without_paths(overrides)],
        "data": fingerprint,
        "split": split,
        "acquisition": dict(acquisition),
        "seed": seed,
    }


def code_version() -> dict[str, Any]:
    """The commit of the source tree and a hash of what is not committed; None outside a git checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> bytes | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout

    commit, changes = git("rev-parse", "HEAD"), git("diff", "HEAD")
    return {
        "commit": commit.decode().strip() if commit else None,
        "uncommitted": hashlib.blake2b(changes, digest_size=16).hexdigest() if changes else None,
    }


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
    }
