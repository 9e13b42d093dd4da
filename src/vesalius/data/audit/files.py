"""Checks of the files behind the samples: what they tell beside their pixels."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
from PIL import Image

from vesalius.data.audit.checks import Audited
from vesalius.data.audit.findings import Finding
from vesalius.data.audit.text import MIN_SIDE, shows_text
from vesalius.data.formats.dicom.identifying import burned_in_reason, identifying_values
from vesalius.data.sources.vocabulary import SPLIT_WORDS
from vesalius.metrics.intervals.auroc import auroc_interval

#: A property predicts the class if the AUROC that it gives is above this with 97.5 % confidence.
TELLING_AUROC = 0.6
_MAX_FILES = 5_000
_MAX_LOOKED_AT = 200
_MIN_PATIENTS = 10
_MAX_FOLDERS = 20
_NO_CLASSES = ("multilabel", "regression", "unlabelled")
_TREES = 50
_SHOWN = 50
_HEADER_TAGS = ("Rows", "Columns", "BitsStored", "Manufacturer", "ManufacturerModelName", "Modality")


class Files:
    """Properties of the first file of each sample, read from headers alone.

    Args:
        audited: what is looked at; at most 5,000 of its samples, spread evenly.
    """

    def __init__(self, audited: Audited) -> None:
        step = max(1, -(-len(audited.table) // _MAX_FILES))
        self.rows = np.arange(0, len(audited.table), step)
        records: list[Any] = audited.table.iloc[self.rows].to_dict("records")
        self.paths = [next(iter(audited.source.files(record)), None) for record in records]
        self._groups = audited.table["group_id"].iloc[self.rows].to_numpy()
        self._telling_names = {name.lower() for name in audited.source.classes} | set(SPLIT_WORDS)

    @cached_property
    def properties(self) -> pd.DataFrame:
        """A row a sample; numbers, and words for what has no order."""
        found = pd.DataFrame([_properties(path) if path else {} for path in self.paths])
        folders = pd.Series(self._folders(), dtype=object)
        patients = pd.Series(self._groups).groupby(folders).nunique()
        # A folder of one patient tells nothing of the next one, but the number it gets here could by its order.
        if 1 < len(patients) <= _MAX_FOLDERS and patients.min() > 1:
            found["folder"] = folders
        return found

    def _folders(self) -> list[str]:
        """The outermost folder of each file below what all share, but for those that name a split or a class."""
        parents = [path.absolute().parent if path else None for path in self.paths]
        known = {str(parent) for parent in parents if parent}
        depth = len(Path(os.path.commonpath(known)).parts) if known else 0
        below = [parent.parts[depth:] if parent else () for parent in parents]
        return [next((part for part in parts if part.lower() not in self._telling_names), "") for parts in below]


def unchecked(audited: Audited, wanted: Sequence[str]) -> dict[str, str]:
    """Which of the checks wanted cannot look at this data set, and why."""
    task = audited.source.task
    record: Any = audited.table.iloc[0].to_dict()
    paths = audited.source.files(record)
    reasons: dict[str, str] = {}
    if task == "regression":
        reasons |= dict.fromkeys(("prevalence_shift", "few_patients"), "quantities have no classes")
    if task == "unlabelled":
        without_labels = ("conflicting_labels", "prevalence_shift", "few_patients", "telling_files")
        reasons |= dict.fromkeys(without_labels, "there are no labels")
    if audited.train_classes is not None:
        reasons["prevalence_shift"] = "training samples were picked by class"
    if not paths:
        no_files = "the source has no file for each sample"
        reasons |= dict.fromkeys(("telling_files", "unusual_shape", "identifying_tags"), no_files)
    elif not _is_dicom(paths[0]):
        reasons["identifying_tags"] = "the files are not DICOM"
    if paths and task in _NO_CLASSES:
        reasons.setdefault("telling_files", "samples have no single class")
    elif paths and _patients_of_rarest_class(audited.table, audited) < _MIN_PATIENTS:
        reasons["telling_files"] = f"a class has fewer than {_MIN_PATIENTS} patients"
    if "text_in_pixels" in wanted and min(audited.source.load(record).shape[-2:]) < MIN_SIDE:
        reasons["text_in_pixels"] = f"images of fewer than {MIN_SIDE} pixels a side hold no legible text"
    return {name: why for name, why in reasons.items() if name in wanted}


def _patients_of_rarest_class(table: pd.DataFrame, audited: Audited) -> int:
    patients = table.groupby("target")["group_id"].nunique()
    return int(patients.min()) if len(patients) == len(audited.source.classes) else 0


def _properties(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"file size": float(path.stat().st_size), "file type": path.suffix.lower()}
    try:
        if _is_dicom(path):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER_TAGS))
            tags = {tag: header.get(tag) for tag in _HEADER_TAGS}
            found |= {tag: value if isinstance(value, int) else str(value) for tag, value in tags.items()}
        else:
            with Image.open(path) as image:
                found |= {"height": image.height, "width": image.width, "mode": image.mode}
                tables = getattr(image, "quantization", None) or {}
                found["JPEG quantisation"] = float(sum(map(sum, tables.values()))) if tables else 0.0
    except Exception:  # a damaged header is for `unreadable`; here the file's size and name are all that is known
        return found
    return found


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def telling_files(audited: Audited, files: Files) -> Iterator[Finding]:
    """Whether size, type, shape or device of a file predict its class: then a network may learn those instead."""
    task = audited.source.task
    if task in _NO_CLASSES or not any(files.paths):
        return
    table = audited.table.iloc[files.rows].reset_index(drop=True)
    properties = files.properties.loc[:, files.properties.nunique(dropna=False) > 1]
    if properties.empty or _patients_of_rarest_class(table, audited) < _MIN_PATIENTS:
        return
    told = _auroc(properties, table, audited)
    if told["ci95"][0] <= TELLING_AUROC:
        return
    alone = {str(name): _auroc(properties[[name]], table, audited)["value"] for name in properties}
    best = max(alone, key=lambda name: alone[name])
    low, high = told["ci95"]
    yield Finding(
        "telling_files",
        "warning",
        f"properties of the files predict the class: AUROC {told['value']:.2f} [{low:.2f}, {high:.2f}] without a pixel "
        f"({best} alone: {alone[best]:.2f}); a network may learn these instead: bring all images to one shape and "
        "compression, and compare with the run's baselines.",
        len(table),
        numbers={"auroc": told["value"], "ci95": told["ci95"], "alone": alone},
    )


def _auroc(properties: pd.DataFrame, table: pd.DataFrame, audited: Audited) -> dict[str, Any]:
    """AUROC over patients of a small forest that never meets the patient whose class it says."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    words = [name for name in properties if not pd.api.types.is_numeric_dtype(properties[name])]
    features = properties.copy()
    for name in words:
        features[name] = pd.factorize(features[name].astype(str), sort=True)[0]
    x = features.fillna(-1).to_numpy(dtype=float)
    forest = RandomForestClassifier(_TREES, min_samples_leaf=5, random_state=0, n_jobs=1)
    cut = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    said = cross_val_predict(forest, x, table["target"], groups=table["group_id"], cv=cut, method="predict_proba")
    columns = [1] if audited.source.task == "binary" else list(range(len(audited.source.classes)))
    truth = table["target"].to_numpy(dtype=int)[:, None] == columns
    interval = auroc_interval(truth, said[:, columns], pd.factorize(table["group_id"])[0].astype(np.int64))
    value = np.mean([roc_auc_score(truth[:, k], said[:, column]) for k, column in enumerate(columns)])
    return {"value": float(value), "ci95": [interval.low, interval.high]}


def unusual_shape(audited: Audited, files: Files) -> Iterator[Finding]:
    """Images whose native height or width is more than twice, or less than half, the usual one."""
    names = [name for name in ("height", "width", "Rows", "Columns") if name in files.properties]
    if not names:
        return
    sizes = files.properties[names].to_numpy(dtype=float)
    usual = np.nanmedian(sizes, axis=0)
    with np.errstate(divide="ignore"):
        factor = np.nanmax(np.abs(np.log2(sizes / usual)), axis=1, initial=0.0)
    odd = np.flatnonzero(factor > 1)
    if len(odd):
        worst = odd[np.argsort(-factor[odd], kind="stable")]
        said = ", ".join(f"{name.lower()} {size:g}" for name, size in zip(names, usual, strict=True))
        yield Finding(
            "unusual_shape",
            "note",
            f"{len(odd)} images are over twice as large or less than half as large as usual ({said} pixels): are they "
            "of the same kind?",
            len(odd),
            samples=[audited.ids[files.rows[position]] for position in worst[:_SHOWN]],
            numbers={"looked_at": len(files.rows)},
        )


def identifying_tags(audited: Audited, files: Files) -> Iterator[Finding]:
    """Which DICOM attributes say who the patient is; never their values."""
    counts: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {}
    dicom = [(row, path) for row, path in zip(files.rows, files.paths, strict=True) if path and _is_dicom(path)]
    for row, path in _spread(dicom):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # damaged: it is listed as unreadable
            continue
        counts.update(identifying_values(header).keys())
        if reason := burned_in_reason(header):
            reasons.setdefault(reason, []).append(audited.ids[row])
    if counts:
        said = ", ".join(name for name, _ in counts.most_common(6))
        yield Finding(
            "identifying_tags",
            "note",
            f"the files themselves say who the patients are, in {len(counts)} attributes ({said}, ...): nothing of it "
            "enters cache, run folder or page, but do not pass the files on without de-identifying them (PS3.15).",
            max(counts.values()),
            numbers={"attributes": dict(counts.most_common())},
        )
    for reason, samples in reasons.items():
        yield Finding(
            "text_in_pixels",
            "warning",
            f"{len(samples)} images may show the patient's name: {reason}. Look at them before you share anything.",
            len(samples),
            samples=samples[:_SHOWN],
        )


def text_in_pixels(audited: Audited) -> Iterator[Finding]:
    """Images in which something looks like lines of print; of many, 200 are looked at, in their own size."""
    found = []
    records = _spread(audited.table.to_dict("records"))
    for record in records:
        try:
            image = audited.source.load(record)
        except Exception:  # listed as unreadable
            continue
        if shows_text(image[len(image) // 2] if image.ndim == 4 else image):
            found.append(str(record["sample_id"]))
    if found:
        yield Finding(
            "text_in_pixels",
            "warning",
            f"{len(found)} of the {len(records)} images looked at seem to show text: it may name the "
            "patient, and a network may read it. Crop or blank it.",
            len(found),
            samples=found[:_SHOWN],
            numbers={"looked_at": len(records)},
        )


def unreadable(audited: Audited) -> Iterator[Finding]:
    """Samples that could not be decoded."""
    skipped = [*audited.source.left_out, *audited.store.skipped]
    if skipped:
        kinds = Counter(re.sub(r"^\S+ ", "", reason)[:60] for _, reason in skipped)
        yield Finding(
            "unreadable",
            "error",
            f"{len(skipped)} images cannot be decoded; the first: {skipped[0][1]}",
            len(skipped),
            samples=[name for name, _ in skipped[:_SHOWN]],
            numbers={"reasons": dict(kinds.most_common(10))},
        )


def _spread(items: list[Any]) -> list[Any]:
    """At most 200 of them, evenly."""
    return items[:: max(1, -(-len(items) // _MAX_LOOKED_AT))]
