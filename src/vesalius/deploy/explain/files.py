"""Explanations of files as pictures, and as arrays on request."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vesalius.config.errors import InputError
from vesalius.deploy.explain.methods import explanations
from vesalius.deploy.explain.picture import picture
from vesalius.deploy.inputs import InputFile
from vesalius.deploy.predictor import Predictor

_LONGEST = 80


def write_explanations(
    model: Predictor, files: Sequence[InputFile], folder: Path, *, method: str, target: str | None, arrays: bool
) -> Iterator[bool]:
    """Write one picture per input that can be read; those that cannot are in the table of predictions.

    A picture's name begins with the number of the input's row in the table, from 1.

    Args:
        model: the model.
        files: the inputs.
        folder: exists.
        method: as for `explain`.
        target: likewise.
        arrays: whether the maps are written too, (T, H, W) float32 in `.npy` files.

    Yields:
        For each input whether its map is empty: too little speaks for what is explained.
    """
    for number, file in enumerate(files, 1):
        path = folder / f"{number:05d}_{re.sub(r'[^A-Za-z0-9#-]+', '_', file.name)[-_LONGEST:]}.png"
        try:
            one = file.read(model.contract)
        except InputError:
            yield False
            continue
        found = explanations(model.backend, [one], method=method, target=target)[0]
        picture(one.images, found.maps, found.weights).save(path)
        if arrays:
            np.save(path.with_suffix(".npy"), found.maps, allow_pickle=False)
        yield not found.maps.any()
