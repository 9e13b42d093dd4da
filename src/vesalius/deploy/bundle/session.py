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
        options.intra_op_num_threads = threads or _threads_of_environment()
        options.log_severity_level = 3
        # Threads that wait for work must not spin: those of other calls, and of clients, need the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of its own for each of its reasons
            raise InputError(f"{name} cannot be run by ONNX Runtime: {_first_line(error)}") from None
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = {spec.name: spec for spec in outputs}
        for specs, found in ((self.inputs, self._session.get_inputs()), (self.outputs, self._session.get_outputs())):
            if list(specs) != [one.name for one in found] or not all(_states(one, specs[one.name]) for one in found):
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
            InputError: for arrays that do not fit, and for a graph that computes other outputs than it states.
        """
        sizes: dict[str, int] = {}
        for name, spec in self.inputs.items():
            if not _fits(feeds.get(name), spec, sizes):
                raise InputError(f"The model takes {_describe(spec)} as {name}, not {_found(feeds.get(name))}.")
        names = list(self.outputs if outputs is None else outputs)
        computed = dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        for name in names:
            if not _fits(computed[name], self.outputs[name], sizes):
                stated = _describe(self.outputs[name])
                raise InputError(f"The graph states {stated} as {name}, and gives {_found(computed[name])}.")
        return computed


def _states(node: Any, spec: TensorSpec) -> bool:
    """Whether the graph states the type of a specification, and no other size where both state a number."""
    known = {"tensor(float)": "float32", "tensor(double)": "float64"}
    dtype = known.get(node.type, node.type.removeprefix("tensor(").removesuffix(")"))
    sizes = zip(node.shape, spec.shape, strict=False)
    differ = any(isinstance(one, int) and isinstance(other, int) and one != other for one, other in sizes)
    return dtype == spec.dtype and len(node.shape) == len(spec.shape) and not differ


def _fits(array: Any, spec: TensorSpec, sizes: dict[str, int]) -> bool:
    """Whether an array has the type and shape of its specification; `sizes` learns those that have names."""
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype) or array.ndim != len(spec.shape):
        return False
    wanted = [
        sizes.setdefault(size, found) if isinstance(size, str) else size
        for size, found in zip(spec.shape, array.shape, strict=True)
    ]
    return list(array.shape) == wanted


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} ({', '.join(map(str, spec.shape))})"


def _found(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "nothing"


def _threads_of_environment() -> int:
    """As `OMP_NUM_THREADS` asks, which other libraries follow too; 0, one per core, without it."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) if asked.isdigit() else 0


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
