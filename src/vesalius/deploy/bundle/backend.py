"""A bundle, computed by ONNX Runtime: neither torch nor Lightning is imported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.backend import Outputs
from vesalius.deploy.bundle.manifest import BATCH, FRAMES, Manifest
from vesalius.deploy.bundle.reading import MODEL, Bundle
from vesalius.deploy.bundle.session import Session
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput
from vesalius.metrics.out_of_distribution import OutOfDistribution
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import MANIFEST, METRICS, OOD

#: By the kind of the model: names of the graph's outputs that become `values`, `features`, `errors` and `scores`.
OUTPUTS: dict[str, tuple[str | None, ...]] = {
    "classifier": ("probabilities_uncalibrated", "features", None, None),
    "regressor": ("values", "features", None, None),
    "autoencoder": (None, "latent", "errors", "score"),
    "anomaly_detector": (None, "features", "map", "score"),
}
_UNLABELLED = ("autoencoder", "anomaly_detector")


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
        if kind not in OUTPUTS or contract is None:
            raise InputError(
                f"{files.path} holds {kind_in_words(kind)}, which predicts nothing of images: "
                f"run its {MODEL} with ONNX Runtime."
            )
        facts = self.manifest.facts
        self.facts: Facts = replace(facts, task="unlabelled", classes=()) if kind in _UNLABELLED else facts
        self.contract: InputContract = contract
        self.metrics: Mapping[str, Any] = files.read_json(METRICS)
        self.ood = OutOfDistribution.from_arrays(files.read_arrays(OOD)) if files.has(OOD) else None
        self.session = Session.of(files, threads)
        files.verify()
        if contradictions := list(self._contradictions()):
            found = "; ".join(contradictions)
            raise InputError(f"{files.path} contradicts itself ({found}): take it from its source again.")
        self._names = [name if name in self.session.outputs else None for name in OUTPUTS[kind]]
        self._path = files.path

    @cached_property
    def sha256(self) -> str:
        """Of the manifest, which holds the hashes of all other files."""
        return file_hash(self._path / MANIFEST)

    def _contradictions(self) -> Iterator[str]:
        """In what the manifest, the graph, the metrics and the statistics of features differ."""
        values, features, *_ = OUTPUTS[self.manifest.kind]
        classes = self._width(values)
        if values is not None and classes != (count := self.facts.num_classes):
            yield f"the manifest names {count} classes, and the graph gives {classes or 'other outputs'}"
        contract = self.contract
        pixels = (BATCH, *((FRAMES,) if contract.series else ()), contract.channels, *contract.image_size)
        taken = {name: (spec.dtype, spec.shape) for name, spec in self.session.inputs.items()}
        more = {name: (dtype, (BATCH, FRAMES)) for name, dtype in (("mask", "bool"), ("time", "float32"))}
        if taken != {"image": (contract.dtype.name, pixels)} | (more if contract.series else {}):
            yield "the graph takes other inputs than the contract states"
        if dict(self.manifest.decision) != (self.metrics.get("decision") or {}):
            yield "the decision in the manifest is not that of metrics.json"
        if self.ood is not None and self._width(features) not in (None, len(self.ood.mean)):
            yield "the statistics of features are of other features than the graph gives"

    def _width(self, name: str | None) -> int | str | None:
        """Columns of an output; None without it."""
        spec = None if name is None else self.session.outputs.get(name)
        return None if spec is None or len(spec.shape) != 2 else spec.shape[1]

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        """What the model outputs; a series at a time, as the trained model's own backend does."""
        batches = [[one] for one in inputs] if self.contract.series else [list(inputs)]
        names = [name for name in self._names if name is not None]
        parts = [self.session.run(feeds_of(batch), names) for batch in batches]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
        values, features, errors, scores = (None if name is None else joined[name] for name in self._names)
        nothing = np.zeros((len(inputs), 0))
        values = nothing if values is None else values.astype(np.float64)
        return Outputs(values, features, errors, None if scores is None else scores.astype(np.float64))


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
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"
