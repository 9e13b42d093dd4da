"""The feature vectors that a net hands to its head, as a by-product of a prediction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def head_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect feature vectors (B, F) while a model predicts, one tensor for each time that its head is called.

    With test-time flips the first of a batch is of the images as they are, and equals what `embed` returns. Of a net
    without `head` nothing is collected.

    Args:
        model: of a family; its `net` may be any module.
    """
    collected: list[Tensor] = []
    head = getattr(getattr(model, "net", None), "head", None)
    if not isinstance(head, nn.Module):
        yield collected
        return

    def collect(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], Tensor) and inputs[0].ndim == 2:
            collected.append(inputs[0].float())

    handle = head.register_forward_pre_hook(collect)
    try:
        yield collected
    finally:
        handle.remove()
