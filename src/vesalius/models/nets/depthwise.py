"""Depthwise convolutions that train fast on a CPU."""

from functools import cache

import torch
from torch import Tensor, nn


class _In32Bits:
    """Computes in 32 bits where a CPU trains in bf16, and returns bf16."""

    def _conv_forward(self, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = super()._conv_forward  # type: ignore[misc]
        if not (torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()):
            convolved: Tensor = convolve(image, weight, bias)
            return convolved
        with torch.autocast("cpu", enabled=False):
            convolved = convolve(image.float(), weight, bias)
        return convolved.to(torch.get_autocast_dtype("cpu"))


def use_depthwise(net: nn.Module) -> None:
    """Let filters of single channels be trained in 32 bits on a CPU, also where all else computes in bf16; in place.

    PyTorch is slow at their gradients in bf16: with this a training step of MobileNetV3, EfficientNet or ShuffleNet
    takes half the time, one of ConvNeXt four fifths.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.__class__ = _in_32_bits(type(layer))  # type: ignore[arg-type]


@cache
def _in_32_bits(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    return type(f"Depthwise{kind.__name__}", (_In32Bits, kind), {})
