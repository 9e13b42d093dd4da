"""What is reachable on the `lesions` phantom: the class probabilities of an observer who knows how it is generated."""

import numpy as np
from numpy.typing import NDArray

from vesalius.data.phantoms.findings import CLASSES
from vesalius.data.phantoms.lesions import PARAMETERS, acquire, draw_slice


def oracle_scores(seed: int, number: int, position: int, size: int) -> NDArray[np.float64]:
    """Class probabilities of an observer who knows everything of a slice but its class: the upper bound for any model.

    The observer knows the patient's anatomy, texture and where and how large a finding would be, draws the slice with
    each of the four classes, and compares the likelihoods of the recorded image under white Gaussian noise.

    Returns:
        (4,) probabilities in the order of `CLASSES`.
    """
    recorded = acquire(draw_slice(seed, number, position, size)[0], seed, number, position).astype(np.float64)
    squared = np.array(
        [
            ((recorded - np.clip(draw_slice(seed, number, position, size, label)[0], 0, 255)) ** 2).sum()
            for label in CLASSES
        ]
    )
    likelihood = -squared / (2 * PARAMETERS.noise**2)
    odds = np.exp(likelihood - likelihood.max())
    scores: NDArray[np.float64] = odds / odds.sum()
    return scores
