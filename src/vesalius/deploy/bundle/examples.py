"""Random inputs of a graph: to trace it, and to compare it with the trained model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.deploy.bundle.manifest import BATCH, FRAMES, TensorSpec


def random_inputs(
    specs: tuple[TensorSpec, ...], facts: Facts, sizes: Mapping[str, int], rng: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """One array per input.

    Images are noise of a random contrast; series have random lengths, at least one of them the longest, and irregular
    times.

    Args:
        specs: of the inputs.
        facts: of the model's data.
        sizes: of the dimensions that are named.
        rng: where the numbers come from.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
        if spec.name == "image":
            arrays["image"] = _images(shape, spec, facts, rng)
        elif spec.name == "mask":
            lengths = rng.integers(1, sizes[FRAMES] + 1, sizes[BATCH])
            lengths[0] = sizes[FRAMES]
            arrays["mask"] = np.arange(sizes[FRAMES]) < lengths[:, None]
        elif spec.name == "time":
            steps = rng.exponential(facts.time_step or 1.0, shape) + 1e-3
            arrays["time"] = (steps.cumsum(axis=1) - steps[:, :1]).astype(np.float32)
        elif spec.name == "label":
            arrays["label"] = rng.integers(0, facts.num_classes, shape)
        else:
            arrays[spec.name] = rng.standard_normal(shape, dtype=np.float32)
    if "mask" in arrays:
        mask = arrays["mask"]
        arrays["image"] = arrays["image"] * mask.reshape(*mask.shape, 1, 1, 1).astype(arrays["image"].dtype)
        arrays["time"] = arrays["time"] * mask.astype(np.float32)
    return arrays


def _images(shape: tuple[int, ...], spec: TensorSpec, facts: Facts, rng: np.random.Generator) -> NDArray[np.generic]:
    contrast = rng.uniform(0.2, 1, (shape[0], *[1] * (len(shape) - 1)))
    values = rng.random(shape) * contrast * facts.value_max
    if spec.dtype == "float32" and any(abs(mean) > 1 for mean in facts.mean):
        values = values * max(facts.std) + facts.mean[0]  # floats in a unit of their own, such as Hounsfield
    return values.astype(spec.dtype)
