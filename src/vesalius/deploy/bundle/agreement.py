"""Whether a bundle's outputs agree with those of the trained model: torch-free, so that a receiver can check it too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import RunFailed

#: Largest difference of an output, as a share of its scale: 1 for probabilities and pixels.
TOLERANCE = 1e-4


def check_agreement(reference: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], what: str) -> float:
    """The largest difference between outputs, as a share of their scale.

    The scale of values in 0..1 is 1; of others, such as codes and values in a unit, the largest of them.

    Args:
        reference: outputs of the trained model by name.
        outputs: of its export.
        what: the inputs, for the message.

    Raises:
        RunFailed: where an output differs by more than `TOLERANCE`, or a decision at all.
    """
    largest = 0.0
    for name, wanted in reference.items():
        found = outputs[name]
        if wanted.shape != found.shape:
            raise RunFailed(f"{name} of {what} has the shape {found.shape}, and the trained model's {wanted.shape}.")
        if wanted.dtype == np.bool_:
            difference = float((wanted != found).any())
        else:
            scale = max(1.0, float(np.abs(wanted).max())) if wanted.size else 1.0
            difference = float(np.abs(wanted.astype(np.float64) - found).max(initial=0)) / scale
        if not difference <= TOLERANCE:  # NaN too
            raise RunFailed(
                f"The exported graph differs from the trained model: {name} of {what} by {difference:.2g}, where "
                f"{TOLERANCE:g} is allowed: ONNX Runtime computes part of the net otherwise, or a file was changed."
            )
        largest = max(largest, difference)
    return largest
