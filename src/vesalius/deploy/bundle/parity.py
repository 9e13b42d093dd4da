"""The comparison of an exported graph with the model that it comes from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.deploy.bundle.agreement import TOLERANCE, check_agreement
from vesalius.deploy.bundle.examples import random_inputs
from vesalius.deploy.bundle.graphs import Graph
from vesalius.deploy.bundle.manifest import BATCH, FRAMES
from vesalius.deploy.bundle.session import Session

BATCHES = (1, 2, 5)
# Of the images of a batch; a larger batch of long series is left out, since its activations need not fit in memory.
_MOST_PIXELS = 2**24


def compare_with_model(graph: Graph, session: Session, facts: Facts, seed: int = 0) -> dict[str, Any]:
    """Run random inputs of several batch sizes (and lengths) through both.

    Args:
        graph: of the trained model; the reference is computed by torch on the CPU, in 32 bits.
        session: of its export.
        facts: of the model's data.
        seed: of the inputs.

    Returns:
        `tolerance`, `batches`, `frames` (None for single images), `inputs` and `largest`, the largest difference.

    Raises:
        RunFailed: where an output differs by more than the tolerance, or a decision at all.
    """
    rng = np.random.default_rng(seed)
    longest = facts.sequence_length
    lengths = None if longest is None else sorted({1, 3, longest, longest + 3})
    if not any(FRAMES in spec.shape for spec in graph.inputs):
        lengths = None
    largest, count = 0.0, 0
    batches: set[int] = set()
    pixels = facts.channels * facts.image_size[0] * facts.image_size[1]
    for frames in lengths or [1]:
        for batch in BATCHES:
            if batch > 1 and batch * frames * pixels > _MOST_PIXELS:
                continue
            feeds = random_inputs(graph.inputs, facts, {BATCH: batch, FRAMES: frames}, rng)
            what = f"a batch of {batch}" + f" series of {frames} frames" * (lengths is not None)
            largest = max(largest, check_agreement(reference_of(graph, feeds), session.run(feeds), what))
            count += batch
            batches.add(batch)
    return {
        "tolerance": TOLERANCE,
        "batches": sorted(batches),
        "frames": lengths,
        "inputs": count,
        "largest": largest,
    }


def reference_of(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs of the trained model by name."""
    with torch.inference_mode():
        outputs = graph.module(*(torch.from_numpy(feeds[spec.name]) for spec in graph.inputs))
    tensors = outputs if isinstance(outputs, tuple) else (outputs,)
    return {spec.name: tensor.numpy() for spec, tensor in zip(graph.outputs, tensors, strict=True)}
