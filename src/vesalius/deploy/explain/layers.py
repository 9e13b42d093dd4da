"""The feature maps of a net that explanations are read from."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError


def last_feature_maps(net: nn.Module, run: Callable[[], Any], size: tuple[int, int], most: int) -> list[nn.Module]:
    """The modules whose outputs are the net's last feature maps at each resolution, from coarse to fine.

    Any net has them that computes tensors (B, C, h, w): whatever is called last at a resolution counts, so that
    normalisation and activation are included.

    Args:
        net: with the modules.
        run: calls it once, in evaluation mode.
        size: height and width of the images that the net takes.
        most: number of resolutions.

    Raises:
        InputError: for a net without feature maps.
    """
    at: dict[tuple[int, int], nn.Module] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and _is_map(output, size):
            at[(output.shape[2], output.shape[3])] = module

    handles = [module.register_forward_hook(note) for module in net.modules() if module is not net]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    if not at:
        raise InputError(
            f"explain: {type(net).__name__} computes no feature maps: choose explain=integrated_gradients or occlusion."
        )
    return [at[resolution] for resolution in sorted(at)[:most]]


def _is_map(output: Tensor, size: tuple[int, int]) -> bool:
    """Whether the last two axes are height and width: 2 pixels or more, of the image's aspect ratio."""
    height, width = output.shape[2:]
    if min(height, width) < 2 or height > size[0] or width > size[1]:
        return False
    return abs(height * size[1] - width * size[0]) <= max(size)
