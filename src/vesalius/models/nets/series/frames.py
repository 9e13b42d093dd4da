"""Encodes many frames with one image network in bounded memory."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def encode_frames(encoder: nn.Module, frames: Tensor, chunk_frames: int | None) -> Tensor:
    """Encode frames, in chunks if there are more than `chunk_frames`.

    If the encoder learns, a chunk's activations are not stored but computed again in the backward pass (activation
    checkpointing, Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost): memory then hardly grows with the
    number of frames, and a step takes about a third longer. BatchNorm computes its statistics over each chunk.

    Args:
        encoder: maps images (N, C, H, W) to features (N, F).
        frames: (N, C, H, W).
        chunk_frames: most frames of a chunk; None: no chunks. An exported program has none either.

    Returns:
        Features (N, F).
    """
    if torch.compiler.is_exporting() or chunk_frames is None or len(frames) <= chunk_frames:
        whole: Tensor = encoder(frames)
        return whole
    # Chunks of nearly equal size: BatchNorm cannot use a last chunk of one frame.
    chunks = frames.tensor_split(math.ceil(len(frames) / chunk_frames))
    run = encoder
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in encoder.parameters()):
        contexts = partial(_contexts, encoder)
        run = partial(checkpoint, encoder, use_reentrant=False, context_fn=contexts)  # type: ignore[assignment]
    return torch.cat([run(chunk) for chunk in chunks])


def _contexts(encoder: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first pass over a chunk and of the second."""
    return nullcontext(), _frozen_statistics(encoder)


@contextmanager
def _frozen_statistics(encoder: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are: the second pass over a chunk must not count it twice."""
    norms = [part for part in encoder.modules() if isinstance(part, _NormBase)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
