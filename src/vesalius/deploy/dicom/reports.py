"""From the inputs of a study and their predictions to its DICOM objects."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pydicom.dataset import Dataset

from vesalius.config.errors import InputError
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.report import Row, StudyReport
from vesalius.deploy.dicom.source_images import HeaderCache, SourceImage, place_in_study, study_of
from vesalius.deploy.inputs import InputFile


@dataclass
class _Study:
    findings: list[tuple[Row, list[SourceImage]]] = field(default_factory=list)
    refused: int = 0


def build_reports(
    model: ModelDescription, inputs: Sequence[InputFile], table: pd.DataFrame
) -> tuple[list[Dataset], list[str]]:
    """A Structured Report for each study.

    Args:
        model: that predicted.
        inputs: files; those that are refused, or are no DICOM, are in no report.
        table: what was predicted for them, row by row, see `Predictor`.

    Returns:
        The reports, in the order of the studies' first inputs; and why inputs are in none, a sentence each.
    """
    headers = HeaderCache()
    studies: dict[str, _Study] = {}
    problems: list[str] = []
    for file, row in zip(inputs, table.to_dict("records"), strict=True):
        try:
            images = headers.images_of(file.part, file.name)
        except InputError as error:
            if _value(row["problem"]) is None:
                problems += error.problems
            continue
        study = studies.setdefault(study_of(images), _Study())
        if _value(row["problem"]) is None:
            study.findings.append(({str(key): _value(value) for key, value in row.items()}, images))
        else:
            study.refused += 1
    found: list[Dataset] = []
    for study in studies.values():
        if study.findings:
            ordered = sorted(study.findings, key=lambda finding: place_in_study(finding[1]))
            found.append(StudyReport(model, ordered, study.refused))
    return found, problems


def _value(cell: Any) -> Any:
    """A cell of a table; None where it is empty."""
    return None if pd.isna(cell) else cell
