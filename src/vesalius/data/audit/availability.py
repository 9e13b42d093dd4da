"""Which checks cannot run on a data set, and why."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.file_properties import is_dicom
from vesalius.data.formats.printed_text import MIN_SIDE

#: Patients of each class that `telling_files` needs.
MIN_PATIENTS = 10
#: Tasks whose samples do not have exactly one class each.
WITHOUT_SINGLE_CLASS = ("multilabel", "regression", "unlabelled")


def unavailable_checks(data: AuditInput, wanted: Sequence[str]) -> dict[str, str]:
    """The checks among `wanted` that cannot run on this data set, each with the reason."""
    task = data.source.task
    record: Any = data.table.iloc[0].to_dict()
    paths = data.source.files(record)
    reasons: dict[str, str] = {}
    if task == "regression":
        reasons |= dict.fromkeys(("prevalence_shift", "few_patients"), "continuous targets have no classes")
    if task == "unlabelled":
        without_labels = ("conflicting_labels", "prevalence_shift", "few_patients", "telling_files")
        reasons |= dict.fromkeys(without_labels, "there are no labels")
    if data.train_classes is not None:
        reasons["prevalence_shift"] = "training samples were chosen by class"
    if not paths:
        no_files = "the source has no file for each sample"
        reasons |= dict.fromkeys(("telling_files", "unusual_shape", "identifying_tags"), no_files)
    elif not is_dicom(paths[0]):
        reasons["identifying_tags"] = "the files are not DICOM"
    if paths and task in WITHOUT_SINGLE_CLASS:
        reasons.setdefault("telling_files", "samples have no single class")
    elif paths and patients_of_rarest_class(data.table, data.source.classes) < MIN_PATIENTS:
        reasons["telling_files"] = f"a class has fewer than {MIN_PATIENTS} patients"
    if not data.source.mask_text:
        reasons["masked_text"] = "data.source.mask_text is not set"
    if "text_in_pixels" in wanted and min(data.source.image(record).shape[-2:]) < MIN_SIDE:
        reasons["text_in_pixels"] = f"images of fewer than {MIN_SIDE} pixels per side hold no legible text"
    return {name: why for name, why in reasons.items() if name in wanted}


def patients_of_rarest_class(table: pd.DataFrame, classes: Sequence[str]) -> int:
    """Patients of the class that has the fewest; 0 where a class has none."""
    patients = table.groupby("target")["group_id"].nunique()
    return int(patients.min()) if len(patients) == len(classes) else 0
