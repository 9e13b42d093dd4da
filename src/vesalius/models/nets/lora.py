"""Low-rank adapters of convolutions and linear layers (Hu et al. 2022, LoRA: Low-Rank Adaptation)."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Adapted:
    """A layer whose weight W becomes W + up · down; at first up is 0, so that nothing changes."""

    lora_up: Tensor
    lora_down: Tensor

    def adapted(self, weight: Tensor) -> Tensor:
        """The weight that the layer uses."""
        return weight + (self.lora_up @ self.lora_down).view(weight.shape)

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        # Weights without adapters, such as pretrained ones, leave those as they are.
        state |= {f"{prefix}{name}": getattr(self, name) for name in _NAMES if f"{prefix}{name}" not in state}
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[misc]


class _AdaptedConv(_Adapted):
    def _conv_forward(self, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolved: Tensor = super()._conv_forward(image, self.adapted(weight), bias)  # type: ignore[misc]
        return convolved


class _AdaptedLinear(_Adapted):
    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.adapted(self.weight), self.bias)


_NAMES = ("lora_up", "lora_down")


def add_lora(parts: Iterable[nn.Module], rank: int) -> None:
    """Give every convolution and linear layer of some parts of a net an adapter of its weight, in place.

    Args:
        parts: of a net; layers in several parts get one adapter.
        rank: of the adapters, at most the shorter side of a weight as a matrix (outputs by all else).
    """
    layers = dict.fromkeys(
        layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    )
    for layer in layers:
        outputs, inputs = layer.weight.flatten(1).shape
        size = min(rank, outputs, inputs)
        layer.lora_down = nn.Parameter(torch.randn(size, inputs) / inputs**0.5)
        layer.lora_up = nn.Parameter(torch.zeros(outputs, size))
        layer.__class__ = _with_adapter(type(layer))  # type: ignore[assignment, arg-type]


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is of an adapter."""
    return name.rpartition(".")[2] in _NAMES


def merge_lora(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with its adapters added to the weights, for a net without them."""
    merged = {name: value for name, value in state.items() if not is_adapter(name)}
    for name, up in state.items():
        if name.endswith("lora_up"):
            layer = name.removesuffix("lora_up")
            weight = merged[f"{layer}weight"]
            merged[f"{layer}weight"] = weight + (up @ state[f"{layer}lora_down"]).view(weight.shape)
    return merged


@cache
def _with_adapter(kind: type[nn.Module]) -> type[nn.Module]:
    adapter = _AdaptedConv if issubclass(kind, nn.Conv2d) else _AdaptedLinear
    return type(f"Adapted{kind.__name__}", (adapter, kind), {})
