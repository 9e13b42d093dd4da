"""From a torch module to an ONNX graph with dynamic batch and series length."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from vesalius.config.errors import RunFailed
from vesalius.config.facts import Facts
from vesalius.config.targets import import_extra
from vesalius.deploy.bundle.examples import random_inputs
from vesalius.deploy.bundle.graphs import Graph
from vesalius.deploy.bundle.manifest import BATCH, FRAMES

# Sizes while tracing: two that a graph cannot take for constants, and that differ from each other.
_TRACED = {BATCH: 2, FRAMES: 5}


def onnx_model(graph: Graph, facts: Facts) -> bytes:
    """The graph as the content of an ONNX file that holds all its weights.

    Args:
        graph: of a trained model.
        facts: of its data.

    Raises:
        InputError: where the packages of the extra are missing.
        RunFailed: for a net with an operation that ONNX does not have.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, "vesalius export")
    arrays = random_inputs(graph.inputs, facts, _TRACED, np.random.default_rng(0))
    dynamic = tuple(
        {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in graph.inputs
    )
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph.module,
                tuple(torch.from_numpy(arrays[spec.name]) for spec in graph.inputs),
                dynamo=True,
                dynamic_shapes=(dynamic,),  # of the one starred argument
                input_names=[spec.name for spec in graph.inputs],
                output_names=[spec.name for spec in graph.outputs],
                verbose=False,
            )
        except Exception as error:  # torch and onnxscript have many classes for it
            raise RunFailed(f"The net cannot be written as an ONNX graph: {_reason(error)}") from error
    assert program is not None
    model = program.model_proto
    _forget_where_it_was_traced(model)
    content: bytes = model.SerializeToString()
    return content


def _forget_where_it_was_traced(model: Any) -> None:
    """Remove stack traces, which hold paths of this machine."""
    del model.metadata_props[:]
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        parts = [graph, *graph.node, *graph.value_info]
        if hasattr(graph, "initializer"):
            parts += [*graph.initializer, *graph.input, *graph.output]
        for part in parts:
            part.doc_string = ""
            del part.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                graphs += [attribute.g] * attribute.HasField("g") + [*attribute.graphs]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of torch and onnxscript on their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for one in loggers:
                one.setLevel(logging.ERROR)
            yield
        finally:
            for one, level in zip(loggers, levels, strict=True):
                one.setLevel(level)


def _reason(error: BaseException) -> str:
    """The first line of the error at the root."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
