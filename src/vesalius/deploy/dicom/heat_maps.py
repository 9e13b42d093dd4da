"""From the inputs of a study to their heat maps."""

from collections.abc import Iterator, Sequence

import pandas as pd
from pydicom.dataset import Dataset

from vesalius.config.errors import InputError
from vesalius.data.sources.tables.file_reader import Part
from vesalius.deploy.dicom.heat_map import HeatMap, secondary_captures
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.source_images import HeaderCache, SourceImage, study_of
from vesalius.deploy.explain import explanations
from vesalius.deploy.explain.methods import check_explanation
from vesalius.deploy.explain.overlay import overlay
from vesalius.deploy.inputs import InputFile
from vesalius.deploy.predictor import Predictor


def build_heat_maps(
    model: Predictor,
    inputs: Sequence[InputFile],
    table: pd.DataFrame,
    method: str,
    target: str | int | None = None,
) -> list[Dataset]:
    """A series of Secondary Captures for each study: the images with what the prediction rests on.

    Args:
        model: that predicted.
        inputs: files; those that are refused, or are no DICOM, get no map.
        table: what was predicted for them, row by row.
        method: of `vesalius.deploy.explain`, or `auto`.
        target: name or number of the class or continuous target to explain; None: the predicted class.

    Raises:
        InputError: for a method or target that does not exist, or that the model does not allow.
    """
    check_explanation(model.backend, method, target)
    headers = HeaderCache()
    studies: dict[str, list[HeatMap]] = {}
    for file, problem in zip(inputs, table["problem"], strict=True):
        if not pd.isna(problem):
            continue
        try:
            sources = list(_sources(headers, file))
            one = file.read(model.contract)
        except InputError:
            continue
        (found,) = explanations(model.backend, [one], method=method, target=target)
        pictures = overlay(one.images, found.maps)
        explained = model.facts.classes[found.target] if model.facts.classes else "the anomaly score"
        if not found.maps.any():
            explained += ", for which too little speaks"
        each = sources if len(sources) == len(pictures) else sources[:1] * len(pictures)
        studies.setdefault(study_of(sources), []).append(HeatMap(pictures, each, explained, method))
    description = ModelDescription.of(model)
    return [picture for maps in studies.values() for picture in secondary_captures(description, maps)]


def _sources(headers: HeaderCache, file: InputFile) -> Iterator[SourceImage]:
    """The image of each frame, where frames have images of their own."""
    for frame in file.part.frames:
        yield from headers.images_of(Part((frame,)), file.name)
