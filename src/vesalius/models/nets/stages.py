"""The parts of an image network of any library: stages, and whether it takes images of a size."""

from itertools import chain
from typing import Any

import torch
from torch import nn

from vesalius.config.errors import InputError

# Children of a network whose own children are distributed over stages.
_CONTAINERS = ("features", "layers", "stages", "trunk_output", "blocks", "encoder", "classifier", "heads")
# Blocks that begin a stage although no convolution or pooling in them has a stride.
_STAGE_BLOCKS = ("PatchMerging", "PatchMergingV2", "EncoderBlock", "Block")


def split_stages(trunk: nn.Module) -> list[nn.Module]:
    """The parts that are frozen and released together, from the stem to the last.

    A stage begins where the resolution drops, or with each block of a transformer that keeps one resolution.
    Together they hold each parameter exactly once.

    Args:
        trunk: a network whose children are called in their order, without its head.
    """
    groups: list[list[nn.Module]] = [[]]
    for unit in _units(trunk):
        if _begins_stage(unit) and any(_has_parameters(part) for part in groups[-1]):
            groups.append([])
        groups[-1].append(unit)
    loose = list(trunk.parameters(recurse=False))
    for name in _CONTAINERS:
        if isinstance(getattr(trunk, name, None), nn.Module):
            loose += trunk.get_submodule(name).parameters(recurse=False)
    if loose:  # a class token or position embedding, which belongs to no layer
        groups[0].append(nn.ParameterList(loose))
    return [nn.ModuleList(group) for group in groups if any(_has_parameters(part) for part in group)]


def check_image(net: nn.Module, architecture: str, channels: int, height: int, width: int, usual: int = 224) -> None:
    """Refuse images that a network cannot take; runs on the meta device, without memory or arithmetic.

    Args:
        net: maps images to outputs.
        architecture: its name, for the message.
        channels: of an image.
        height: of an image, in pixels.
        width: likewise.
        usual: a side that it takes.

    Raises:
        InputError: with the cure.
    """
    tensors = chain(net.named_parameters(), net.named_buffers())
    on_meta = {name: value.detach().to("meta") for name, value in tensors}
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            image = torch.empty(1, channels, height, width, device="meta")
            torch.func.functional_call(net, on_meta, (image,))
    except Exception as error:  # kernels and assertions raise many types
        raise InputError(
            f"model.net.architecture={architecture} cannot take images of {height}x{width} pixels "
            f"({str(error).splitlines()[0].rstrip('.')}): set model.preprocess.image_size={usual}."
        ) from error
    finally:
        net.train(training)


def _units(network: nn.Module) -> list[nn.Module]:
    """The network's parts in order of use, those of containers one by one."""
    units: list[nn.Module] = []
    for name, child in network.named_children():
        units += _units(child) if name in _CONTAINERS and list(child.children()) else [child]
    return units


def _begins_stage(unit: nn.Module) -> bool:
    # A resnet's removed max-pool is an Identity, and still separates stem and first stage.
    kind = type(unit).__name__
    if isinstance(unit, nn.Identity) or kind in _STAGE_BLOCKS or kind.endswith("Stage"):
        return True
    return any(_largest(getattr(part, "stride", 1)) > 1 for part in unit.modules())


def _largest(stride: Any) -> int:
    return max(stride) if isinstance(stride, tuple) else stride if isinstance(stride, int) else 1


def _has_parameters(part: nn.Module) -> bool:
    return next(part.parameters(), None) is not None
