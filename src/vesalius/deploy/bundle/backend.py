"""A bundle, computed by ONNX Runtime: neither torch nor Lightning is imported."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.backend import Outputs
from vesalius.deploy.bundle.manifest import Manifest
from vesalius.deploy.bundle.reading import MANIFEST, MODEL, Bundle, hash_of
from vesalius.deploy.bundle.session import Session
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput
from vesalius.metrics.out_of_distribution import OutOfDistribution
from vesalius.runs.run_folder import METRICS, OOD

#: The output that predictions are taken from, by the kind of the model.
VALUES = {"classifier": "probabilities_uncalibrated", "regressor": "values"}


class BundleBackend:
    """The model of a bundle.

    Args:
        bundle: its folder.
        threads: that one call uses; None: one per core.

    Attributes:
        manifest: of the bundle.
        session: the graph, for arrays by name.

    Raises:
        InputError: for a bundle that is damaged, changed, unsafe or of a newer schema, and for a model that predicts
            nothing of images.
    """

    def __init__(self, bundle: str | Path, threads: int | None = None) -> None:
        files = Bundle(bundle)
        self.manifest: Manifest = files.manifest
        kind, contract = self.manifest.kind, self.manifest.contract
        if kind not in VALUES or contract is None:
            raise InputError(
                f"{files.path} holds {kind_in_words(kind)}, which predicts neither classes nor continuous targets: "
                f"run its {MODEL} with ONNX Runtime."
            )
        self.facts: Facts = self.manifest.facts
        self.contract: InputContract = contract
        self.metrics: Mapping[str, Any] = files.read_json(METRICS)
        self.ood = OutOfDistribution.from_arrays(files.read_arrays(OOD)) if files.has(OOD) else None
        self.session = Session.of(files, threads)
        self._outputs = [VALUES[kind], *(["features"] if "features" in self.session.outputs else [])]
        self._path = files.path

    @cached_property
    def sha256(self) -> str:
        """Of the manifest, which holds the hashes of all other files."""
        return hash_of(self._path / MANIFEST)

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        """Probabilities or values; a series at a time, as the trained model's own backend does."""
        batches = [[one] for one in inputs] if self.contract.series else [list(inputs)]
        outputs = [self.session.run(feeds_of(batch), self._outputs) for batch in batches]
        values, *features = (np.concatenate([one[name] for one in outputs]) for name in self._outputs)
        return Outputs(values.astype(np.float64), features[0] if features else None)


def feeds_of(inputs: Sequence[ModelInput]) -> dict[str, NDArray[Any]]:
    """Inputs of the graph: images as one batch; of series one, which needs no padding."""
    if inputs[0].seconds is None:
        return {"image": np.concatenate([one.images for one in inputs])}
    (one,) = inputs
    return {
        "image": one.images[None],
        "mask": np.ones((1, len(one.images)), dtype=np.bool_),
        "time": inputs[0].seconds[None],
    }


def kind_in_words(kind: str) -> str:
    """`an encoder`, `a generator`."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
