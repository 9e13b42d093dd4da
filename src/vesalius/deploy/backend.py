"""What computes a model's outputs: a run by torch, a bundle by ONNX Runtime, several models as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput
from vesalius.metrics.out_of_distribution import OutOfDistribution


@dataclass(frozen=True)
class Outputs:
    """A model's outputs for N inputs.

    Attributes:
        values: (N, K) probabilities as the net gives them, before calibration; or continuous targets in their units;
            K is 0 for an autoencoder or anomaly detector.
        features: (N, D) float32 that the head of the net got, the codes of an autoencoder, or the mean features of an
            anomaly detector; None where the net has no head of its own.
        errors: (N, H, W) float32, how unusual each place is; of an autoencoder the mean square over channels of what
            the reconstruction is off, on the scale where white is 1. None for models that predict targets.
        scores: (N,) how unusual the image is: of an autoencoder the mean of `errors`, of an anomaly detector its own
            score. None likewise.
    """

    values: NDArray[Any]
    features: NDArray[np.float32] | None = None
    errors: NDArray[np.float32] | None = None
    scores: NDArray[np.float64] | None = None


class Backend(Protocol):
    """A finished model, wherever it comes from and whatever runs it."""

    @property
    def facts(self) -> Facts:
        """Of the data that the model was trained on; `unlabelled` for an autoencoder or anomaly detector."""

    @property
    def contract(self) -> InputContract:
        """What inputs must be."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The content of `metrics.json`: among it, how probabilities become decisions."""

    @property
    def sha256(self) -> str:
        """Identifies the model: the hash of its checkpoint, or of the manifest that holds those of a bundle's files."""

    @property
    def ood(self) -> OutOfDistribution | None:
        """Which features are unlike those of the training images; None where this is not known."""

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        """Outputs of a batch, in its order; series of a batch may differ in length."""
