"""From a finished run to a bundle."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vesalius import __version__
from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.deploy.bundle.backend import OUTPUTS
from vesalius.deploy.bundle.card.content import write_card
from vesalius.deploy.bundle.golden import (
    check_golden,
    golden_inputs,
    write_golden_arrays,
    write_golden_files,
    write_golden_outputs,
)
from vesalius.deploy.bundle.graphs import Graph, Part, graph_of
from vesalius.deploy.bundle.manifest import Manifest
from vesalius.deploy.bundle.onnx_export import onnx_model
from vesalius.deploy.bundle.parity import compare_with_model, reference_of
from vesalius.deploy.bundle.reading import (
    MODEL,
    REQUIREMENTS,
    WEIGHTS,
    Bundle,
)
from vesalius.deploy.bundle.requirements import requirements
from vesalius.deploy.bundle.session import Session
from vesalius.deploy.bundle.trained import trained_model
from vesalius.deploy.contract import InputContract
from vesalius.runs.hashes import file_hash
from vesalius.runs.redaction import without_paths
from vesalius.runs.run_folder import MANIFEST, METRICS, OOD, write_atomically, write_json

_WITH_FILES = (
    "classifier",
    "regressor",
    "autoencoder",
    "anomaly_detector",
    "encoder",
)  # their inputs are images in files


def export_run(
    run: str | Path,
    output: str | Path,
    *,
    part: Part = "model",
    golden: str | Path | None = None,
    intended_use: str | None = None,
) -> Manifest:
    """Write the bundle of a finished run or ensemble; there is none where the graph differs from the trained model.

    Args:
        run: folder of the run, or of the ensemble.
        output: folder to create.
        part: what of the model to export.
        golden: files whose outputs travel along, and the files with them; None: phantom images or noise.
        intended_use: what the model is for, as the model card is to state it.

    Returns:
        The manifest.

    Raises:
        InputError: for a folder without a finished run, a part that the model does not have, an output that exists.
        RunFailed: where the graph's outputs differ from the model's; nothing is left behind.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):  # before the work
        import_extra(package, "vesalius export")
    trained = trained_model(run)
    facts, metrics, config = trained.facts, trained.metrics, trained.config
    graph = graph_of(trained.model, facts, metrics, part)
    takes_files = graph.kind in _WITH_FILES
    contract = InputContract.of_run(config["data"], facts, trained.acquisition) if takes_files else None
    with _complete_or_removed(Path(output)) as place:
        (place / MODEL).write_bytes(onnx_model(graph, facts))
        _write_weights(graph, place / WEIGHTS)
        write_json(place / METRICS, metrics)
        if trained.ood is not None and graph.kind in OUTPUTS:
            shutil.copyfile(trained.ood, place / OOD)
        write_atomically(place / REQUIREMENTS, requirements())
        if golden is not None and contract is not None:
            write_golden_files(place, Path(golden).expanduser(), contract)
        else:
            write_golden_arrays(place, graph.inputs, facts, contract, config["data"]["source"])
        manifest = Manifest(
            kind=graph.kind,
            name=trained.name,
            facts=facts,
            contract=contract,
            inputs=graph.inputs,
            outputs=graph.outputs,
            decision=metrics.get("decision") or {},
            parity={},
            provenance={**trained.provenance, "exported": _versions()},
            hashes={},
        )
        manifest = _checked(_with_hashes(manifest, place), graph, place)
        write_card(place, manifest, metrics, without_paths(config), intended_use)
        manifest = _with_hashes(manifest, place)
    return manifest


def _checked(manifest: Manifest, graph: Graph, place: Path) -> Manifest:
    """The manifest with how the graph was compared to the trained model, on golden and random inputs."""
    bundle = Bundle(place)
    write_golden_outputs(place, [reference_of(graph, feeds) for feeds in golden_inputs(bundle)])
    manifest = _with_hashes(manifest, place)
    bundle = Bundle(place)
    session = Session.of(bundle)
    parity = compare_with_model(graph, session, manifest.facts)
    at_golden = check_golden(bundle, session)
    return dataclasses.replace(manifest, parity={**parity, "golden": at_golden})


def _write_weights(graph: Graph, path: Path) -> None:
    """The weights by the names that they have in the model, for those who go on with torch."""
    from safetensors.torch import save

    inner = graph.module.get_submodule("model")
    path.write_bytes(save({name: tensor.contiguous().clone() for name, tensor in inner.state_dict().items()}))


def _with_hashes(manifest: Manifest, place: Path) -> Manifest:
    """The manifest with the hash of every file, which is also written."""
    files = sorted(path for path in place.rglob("*") if path.is_file() and path != place / MANIFEST)
    hashes = {path.relative_to(place).as_posix(): file_hash(path) for path in files}
    manifest = dataclasses.replace(manifest, hashes=hashes)
    write_json(place / MANIFEST, manifest.to_dict())
    return manifest


def _versions() -> dict[str, str]:
    import onnxruntime
    import torch

    own = {"vesalius": __version__, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    return {**own, "numpy": np.__version__}


@contextlib.contextmanager
def _complete_or_removed(output: Path) -> Iterator[Path]:
    """A folder to fill, which has its name only once it is complete.

    Raises:
        InputError: for an output that exists, or that cannot be created.
    """
    if output.exists():
        raise InputError(f"output={output} exists already: name another folder, or remove it.")
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"output={output} cannot be created ({error.strerror}): name another folder.") from error
    try:
        yield partial
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
