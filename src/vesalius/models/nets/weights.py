"""Pretrained weights: by torchvision's names, cached or downloaded, or from a local file."""

import pickle
import re
import socket
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.models.nets.tensor_files import load_tensors
from vesalius.models.nets.weight_record import WeightRecord, record_of_file
from vesalius.runs.hashes import file_hash

_ENDINGS = (".pt", ".pth", ".safetensors")
# The oldest DenseNet files number the layers of a block as submodules.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
# Auxiliary heads of ImageNet training, which are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def fetch(architecture: str, weights: str, *, download: bool) -> tuple[dict[str, Tensor], WeightRecord]:
    """Read a state dict in torchvision's key layout, and what is known of it.

    Args:
        architecture: torchvision's name of the network.
        weights: torchvision's name of the weights (`DEFAULT`, `IMAGENET1K_V1`, ...), taken from torch's hub folder; or
            the path of a `.pt`, `.pth` or `.safetensors` file.
        download: named weights that are not in that folder into it; they are checked by hash.

    Raises:
        InputError: if the name is unknown, or the file is missing, damaged, or cannot be downloaded.
    """
    if is_path(weights):
        return read_weights(weights), record_of_file(weights, architecture)
    return _named(architecture, weights, download=download)


def is_path(weights: str) -> bool:
    """Whether weights are named by the path of a file."""
    return weights.endswith(_ENDINGS) or "/" in weights


def check_name(architecture: str, weights: str) -> str | None:
    """What is wrong with the name of the weights, or None; reads and downloads nothing."""
    if is_path(weights):
        return None
    from torchvision.models import get_model_weights

    known = list(get_model_weights(architecture).__members__)
    if weights in known:
        return None
    return (
        f"model.net.weights={weights}: torchvision has no weights of that name for {architecture}."
        f"{did_you_mean(weights, known)} A file is given by a path that ends in {', '.join(_ENDINGS)}."
    )


def load_into(trunk: nn.Module, state: Mapping[str, Tensor], dropped: tuple[str, ...], origin: str) -> None:
    """Copy weights into a network whose layers under `dropped` prefixes were replaced.

    Args:
        trunk: the network.
        state: weights in torchvision's key layout.
        dropped: prefixes of the names to leave out.
        origin: where the weights are from, for messages.

    Raises:
        InputError: naming what is missing, unexpected, or of another shape.
    """
    used = OrderedDict(
        (_OLD_DENSENET.sub(r"\1", name), value)
        for name, value in state.items()
        if not name.startswith((*dropped, *_AUXILIARY))
    )
    # torchvision renames the keys of older files by the version in their metadata. A file without versions is read
    # as the oldest; MNASNet needs a number, and its published files are of version 2.
    used._metadata = getattr(state, "_metadata", {"": {"version": 2}})  # type: ignore[attr-defined]
    problems: list[str] = []
    try:
        result = trunk.load_state_dict(used, strict=False)
        missing = [name for name in result.missing_keys if not name.endswith("num_batches_tracked")]
        missing = [name for name in missing if not name.startswith(dropped)] if dropped else missing
        if missing:
            problems.append(f"it lacks {format_list(missing)}")
        if result.unexpected_keys:
            problems.append(f"it has {format_list(result.unexpected_keys)}, which the network does not have")
    except RuntimeError as error:
        problems += [line.strip().rstrip(".") for line in str(error).splitlines()[1:4]]
    broken = [name for name, value in used.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        problems.append(f"it has non-finite values in {format_list(broken)}")
    if problems:
        raise InputError(
            f"model.net.weights={origin} does not fit: {'; '.join(problems)}. "
            "Is it a file of the same architecture, in torchvision's key layout?"
        )


def adapt_channels(kernels: Tensor, channels: int) -> Tensor:
    """First-layer kernels (O, 3, h, w) for images of another number of channels, keeping the size of the response.

    One channel gets the sum, which responds to a grey image as the original does to the image repeated over RGB.
    Any other number cycles through red, green and blue, scaled by 3 / channels.
    """
    if channels == kernels.shape[1]:
        return kernels
    if channels == 1:
        return kernels.sum(dim=1, keepdim=True)
    colours = torch.arange(channels) % kernels.shape[1]
    return kernels[:, colours] * (kernels.shape[1] / channels)


def read_weights(file: str) -> dict[str, Tensor]:
    """Names and tensors in a `.pt`, `.pth` or `.safetensors` file; nothing in it is run.

    Raises:
        InputError: if it is missing or damaged, or holds anything else.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f"model.net.weights={path}: there is no such file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = load_tensors(path)
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(f"model.net.weights={path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    for wrapper in ("state_dict", "model"):  # as training scripts write them
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"model.net.weights={path} holds no state dict: expected only names and tensors.")
    return state  # type: ignore[return-value]  # a dict or OrderedDict, whose metadata is needed


def _named(architecture: str, weights: str, *, download: bool) -> tuple[dict[str, Tensor], WeightRecord]:
    problem = check_name(architecture, weights)
    if problem:
        raise InputError(problem)
    from torchvision.models import get_model_weights

    entry = get_model_weights(architecture)[weights]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(urlparse(entry.url).path).name
    copy = (
        f"Put that file into {folder}, or set model.net.weights=/path/to/{file.name} for a local copy, or "
        "model.net.weights=null to train without."
    )
    if not (file.is_file() or download):
        raise InputError(
            f"model.net.weights={weights}: {entry.url} is not on this machine, and nothing is fetched unless you ask: "
            f"set model.net.download=true. {copy}"
        )
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30.0)  # a network that drops packets counts as offline
    try:
        state: dict[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        problem = "is damaged" if file.is_file() else "could not be downloaded"
        raise InputError(
            f"model.net.weights={weights}: {entry.url} {problem} ({str(error).splitlines()[0]}). {copy}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    # Of torchvision's weights all were trained last on ImageNet-1k, those called SWAG on Instagram before.
    trained_on = ("Instagram 3.6B", "ImageNet-1k") if "SWAG" in entry.name else ("ImageNet-1k",)
    record = WeightRecord(architecture, entry.name, f"torchvision, {entry.url}", "see torchvision", trained_on)
    return state, replace(record, sha256=file_hash(file))
