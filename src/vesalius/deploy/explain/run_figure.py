"""A figure of a run's own test images with what their predictions rest on, for its report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.data.sources.base import Source
from vesalius.deploy.explain.methods import Explanation, check_explanation, explanations
from vesalius.deploy.explain.picture import picture
from vesalius.deploy.inputs import from_array
from vesalius.deploy.run_backend import RunBackend
from vesalius.runs.reading import describe_error
from vesalius.runs.run_folder import RunFolder

#: Name of the figure in the run's folder `figures`, from where the report takes it.
FIGURE = "explanations.png"
_SHOWN, _COLUMNS, _TITLE = 12, 3, 16


def explain_test_images(folder: RunFolder, method: str) -> None:
    """Write the figure: some test samples, evenly spread, each with its true and its explained target.

    Args:
        folder: of a finished run whose data are still there.
        method: as for `explain`.

    Raises:
        InputError: for a model or data that do not allow it.
    """
    backend = RunBackend(folder.path)
    check_explanation(backend, method, None)
    source: Source = build(folder.config["data"]["source"], "data.source")
    try:
        tested = pd.read_csv(folder.predictions / "test.csv", usecols=["sample_id"], dtype=str)["sample_id"]
    except (OSError, ValueError) as error:
        raise InputError(f"predictions/test.csv of {folder.path} cannot be read: {describe_error(error)}") from error
    chosen = tested.iloc[np.unique(np.linspace(0, len(tested) - 1, _SHOWN).astype(np.int64))]
    table = source.samples()
    kept = table[table["sample_id"].astype(str).isin(chosen)]
    rows: list[dict[str, Any]] = [dict(zip(kept.columns, row, strict=True)) for row in kept.to_numpy(dtype=object)]
    inputs = [from_array(source.image(row), "a test sample", backend.contract, row.get("_times")) for row in rows]
    cells = []
    for row, one, found in zip(rows, inputs, explanations(backend, inputs, method=method), strict=True):
        title = _title(row, source.classes, backend.facts.classes, found)
        cells.append(_titled(picture(one.images, found.maps, found.weights), title))
    folder.figures.mkdir(exist_ok=True)
    _grid(cells, 1 if source.series else _COLUMNS).save(folder.figures / FIGURE)


def _title(row: Mapping[str, Any], classes: Any, explained: tuple[str, ...], found: Explanation) -> str:
    """The true class, where there is one, and what the map is of."""
    of = (explained[found.target] if explained else "error") + ("" if found.maps.any() else " (too little)")
    true = row.get("target")
    return f"{classes[int(true)]}; explained: {of}" if classes and true is not None and pd.notna(true) else of


def _titled(drawn: Image.Image, title: str) -> Image.Image:
    canvas = Image.new("RGB", (drawn.width, drawn.height + _TITLE))
    canvas.paste(drawn, (0, _TITLE))
    ImageDraw.Draw(canvas).text((4, 2), title, fill="white")
    return canvas


def _grid(cells: list[Image.Image], columns: int) -> Image.Image:
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    canvas = Image.new("RGB", (width * min(columns, len(cells)), height * -(-len(cells) // columns)))
    for at, cell in enumerate(cells):
        canvas.paste(cell, (width * (at % columns), height * (at // columns)))
    return canvas
