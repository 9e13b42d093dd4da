"""Where a run comes from: code, packages, hardware, command, data."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vesalius.runs.provenance.code import CodeVersion
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
    *,
    code: CodeVersion,
    overrides: list[str],
    fingerprint: str,
    split: str,
    acquisition: Mapping[str, Any],
    seed: int,
    weights: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Everything that decides whether two runs should be equal: plain containers without host name or user's paths.

    Args:
        code: of this package.
        overrides: as typed.
        fingerprint: of the data.
        split: hash of which sample is in which split.
        acquisition: how the training images were acquired, as far as their files state it.
        seed: of the run.
        weights: the records of all pretrained weights that it rests on.
    """
    return {
        "code": code.to_dict(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": _hardware(),
        "command": ["vesalius", "train", *overrides_without_paths(overrides)],
        "data": fingerprint,
        "split": split,
        "acquisition": dict(acquisition),
        "seed": seed,
        "weights": [dict(record) for record in weights],
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
