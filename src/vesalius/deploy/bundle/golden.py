"""Golden inputs: a few inputs from the raw file on, and the trained model's outputs for them.

By default they are of nobody: images of the phantom that the run learned from, else noise. Files of patients go into a
bundle only where the user names them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.formats.folders import walk
from vesalius.data.sources.natural_order import natural_order
from vesalius.deploy.bundle.agreement import check_agreement
from vesalius.deploy.bundle.backend import feeds_of
from vesalius.deploy.bundle.examples import random_inputs
from vesalius.deploy.bundle.manifest import BATCH, FRAMES, TensorSpec
from vesalius.deploy.bundle.reading import GOLDEN, Bundle
from vesalius.deploy.bundle.session import Session
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import find_inputs, from_array

FILES, INPUTS, OUTPUTS = f"{GOLDEN}/files", f"{GOLDEN}/inputs.safetensors", f"{GOLDEN}/outputs.safetensors"
_COUNT, _MOST_FILES = 4, 500
_PHANTOMS = ("vesalius.data.sources.Lesions", "vesalius.data.sources.Perfusion")

Feeds = dict[str, NDArray[Any]]


def write_golden_files(folder: Path, given: Path, contract: InputContract) -> None:
    """Copy the user's files into a bundle, in their order and by numbers: names may be patients'.

    Args:
        folder: of the bundle.
        given: a file, or a folder of files.
        contract: of the model.

    Raises:
        InputError: for no files, too many, or one that the model does not take, by its own name.
    """
    if not given.exists():
        raise InputError(f"golden={given} does not exist: correct the path.")
    found = [given] if given.is_file() else [parent / name for parent, names in walk(given) for name in names]
    if not 0 < len(found) <= _MOST_FILES:
        raise InputError(f"golden={given} holds {len(found)} files: give a few, at most {_MOST_FILES}.")
    for one in find_inputs(given, contract)[0]:
        try:
            one.read(contract)
        except InputError as error:
            raise InputError([f"golden={given}: {problem}" for problem in error.problems]) from None
    root = given.parent if given.is_file() else given
    relative = [file.relative_to(root) for file in found]
    folders = _numbers({path.parent.as_posix() for path in relative})
    stems = _numbers({_stem(path) for path in relative})
    for file, path in zip(found, relative, strict=True):
        ending = path.name[len(Path(_stem(path)).name) :]
        target = folder / FILES / folders[path.parent.as_posix()] / f"{stems[_stem(path)]}{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def write_golden_arrays(
    folder: Path,
    specs: Sequence[TensorSpec],
    facts: Facts,
    contract: InputContract | None,
    source: Mapping[str, Any] | None,
) -> None:
    """Write inputs that are nobody's: grey or RGB images of 8 bits, and grey ones of 16, as PNG; all others as arrays.

    Args:
        folder: of the bundle.
        specs: the graph's inputs.
        facts: of the model's data.
        contract: of the model; None for one that takes no images.
        source: the config of the run's source.
    """
    pixels = [] if contract is None or source is None else _of_phantom(source)
    if contract is not None and pixels and not contract.series and _fits_png(pixels[0][0]):
        _write_png(folder / FILES, [image for image, _ in pixels])
        return
    if contract is not None and pixels:
        inputs = [from_array(array, "a phantom", contract, times) for array, times in pixels]
        feeds = [feeds_of([one]) for one in inputs]
    else:
        rng = np.random.default_rng(0)
        frames = facts.sequence_length or 1
        feeds = [random_inputs(tuple(specs), facts, {BATCH: 1, FRAMES: frames}, rng) for _ in range(_COUNT)]
        if contract is not None and not contract.series and _fits_png(feeds[0]["image"][0]):
            _write_png(folder / FILES, [one["image"][0] for one in feeds])
            return
    from safetensors.numpy import save

    (folder / GOLDEN).mkdir(exist_ok=True)
    named = {f"{number}/{name}": np.ascontiguousarray(a) for number, one in enumerate(feeds) for name, a in one.items()}
    (folder / INPUTS).write_bytes(save(named))


def write_golden_outputs(folder: Path, outputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Write the trained model's outputs, by name, for the golden inputs in their order."""
    from safetensors.numpy import save

    stacked = {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}
    (folder / OUTPUTS).write_bytes(save(stacked))


def golden_inputs(bundle: Bundle) -> list[Feeds]:
    """The golden inputs of a bundle, each as a batch of one, decoded from its files.

    Raises:
        InputError: for a file that was changed, or that the model's contract refuses.
    """
    contract = bundle.manifest.contract
    if bundle.has(INPUTS):
        arrays = bundle.read_arrays(INPUTS)
        count = len({key.partition("/")[0] for key in arrays})
        return [
            {spec.name: arrays[f"{number}/{spec.name}"] for spec in bundle.manifest.inputs} for number in range(count)
        ]
    assert contract is not None
    files, _ = find_inputs(bundle.path / FILES, contract)
    return [feeds_of([file.read(contract)]) for file in files]


def check_golden(bundle: Bundle, session: Session) -> float:
    """Compute the golden inputs, from the raw files on, and compare the outputs with the trained model's.

    Returns:
        The largest difference, as a share of an output's scale.

    Raises:
        InputError: for a file that was changed.
        RunFailed: where outputs differ.
    """
    bundle.verify()
    reference = bundle.read_arrays(OUTPUTS)
    largest = 0.0
    for number, feeds in enumerate(golden_inputs(bundle)):
        wanted = {name: values[number : number + 1] for name, values in reference.items()}
        largest = max(largest, check_agreement(wanted, session.run(feeds), f"golden input {number}"))
    return largest


def _of_phantom(config: Mapping[str, Any]) -> list[tuple[NDArray[Any], Any]]:
    """Some pixels and times of the phantom that the run learned from; empty for other data."""
    if config.get("_target_") not in _PHANTOMS:
        return []
    source = build(config, "data.source")
    rows = source.samples().to_dict("records")
    chosen = [rows[number] for number in np.unique(np.linspace(0, len(rows) - 1, _COUNT).astype(int))]
    return [(source.image(row), row.get("_times")) for row in chosen]


def _fits_png(image: NDArray[Any]) -> bool:
    return (image.dtype.name, len(image)) in (("uint8", 1), ("uint8", 3), ("uint16", 1))


def _write_png(folder: Path, images: Sequence[NDArray[Any]]) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)).save(folder / f"{number}.png")


def _stem(path: Path) -> str:
    """A path without the endings of its name, which the two files of one volume share."""
    ending = "".join(path.suffixes[-2:]) if path.suffix.lower() == ".gz" else path.suffix
    return path.as_posix().removesuffix(ending)


def _numbers(names: set[str]) -> dict[str, str]:
    """Numbers of equal width, in natural order."""
    ordered = natural_order(names)
    return {name: f"{number:0{len(str(len(ordered)))}d}" for number, name in enumerate(ordered)}
