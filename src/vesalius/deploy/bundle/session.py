"""The graph of a bundle in ONNX Runtime."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.deploy.bundle.manifest import TensorSpec
from vesalius.deploy.bundle.reading import MODEL, Bundle
from vesalius.deploy.bundle.wire import graph_problems


class Session:
    """Runs a graph on the CPU; several threads may use one.

    Args:
        content: of an ONNX file, which is checked.
        inputs: of the graph.
        outputs: of the graph.
        name: what messages call it.
        threads: that one call uses; None: `OMP_NUM_THREADS`, or one per core.

    Raises:
        InputError: for a graph that refers to other files, or has other inputs and outputs.
    """

    def __init__(
        self,
        content: bytes,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        name: str = MODEL,
        threads: int | None = None,
    ) -> None:
        runtime = import_extra("onnxruntime", "A bundle")
        if problems := graph_problems(content):
            raise InputError(f"{name} is not run: {', '.join(problems)}. Take the bundle from a source that you trust.")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of its own for each of its reasons
            raise InputError(f"{name} cannot be run by ONNX Runtime: {_first_line(error)}") from None
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = {spec.name: spec for spec in outputs}
        for specs, found in ((self.inputs, self._session.get_inputs()), (self.outputs, self._session.get_outputs())):
            if list(specs) != [one.name for one in found]:
                raise InputError(f"{name} has not the inputs and outputs of its manifest: take the bundle again.")

    @classmethod
    def of(cls, bundle: Bundle, threads: int | None = None) -> "Session":
        """The graph of a bundle.

        Raises:
            InputError: also for one that was changed.
        """
        manifest = bundle.manifest
        return cls(bundle.read(MODEL), manifest.inputs, manifest.outputs, str(bundle.path / MODEL), threads)

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Args:
            feeds: an array for each input, of its type and shape.
            outputs: those wanted; None: all.

        Raises:
            InputError: for arrays that do not fit.
        """
        for name, spec in self.inputs.items():
            _check(feeds.get(name), spec)
        names = list(self.outputs if outputs is None else outputs)
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))


def _check(array: NDArray[Any] | None, spec: TensorSpec) -> None:
    shape = None if array is None else array.shape
    fits = shape is not None and len(shape) == len(spec.shape)
    fits = fits and all(isinstance(want, str) or got == want for got, want in zip(shape or (), spec.shape, strict=True))
    if array is None or not fits or array.dtype != np.dtype(spec.dtype):
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        sizes = ", ".join(map(str, spec.shape))
        raise InputError(f"The model takes {spec.dtype} ({sizes}) as {spec.name}, not {found}.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
