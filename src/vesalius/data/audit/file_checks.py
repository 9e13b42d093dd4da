"""Checks of the files behind the samples: what they reveal besides their pixels."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.availability import MIN_PATIENTS, WITHOUT_SINGLE_CLASS, patients_of_rarest_class
from vesalius.data.audit.file_properties import FileProperties, is_dicom
from vesalius.data.audit.findings import MOST_LISTED, Finding
from vesalius.data.audit.image_checks import MOST_READ
from vesalius.metrics.intervals.auroc import auroc_interval

#: A property predicts the class if the AUROC that it gives is above this with 97.5 % confidence.
TELLING_AUROC = 0.6
_TREES = 50


def telling_files(data: AuditInput, files: FileProperties) -> Iterator[Finding]:
    """Whether size, type, shape or device of a file predict its class: then a network may learn those instead."""
    if data.source.task in WITHOUT_SINGLE_CLASS or not any(files.paths):
        return
    table = data.table.iloc[files.rows].reset_index(drop=True)
    properties = files.table.loc[:, files.table.nunique(dropna=False) > 1]
    if properties.empty or patients_of_rarest_class(table, data.source.classes) < MIN_PATIENTS:
        return
    together = _auroc(properties, table, data)
    low, high = together["ci95"]
    if low <= TELLING_AUROC:
        return
    single = {str(name): _auroc(properties[[name]], table, data)["value"] for name in properties}
    best = max(single, key=lambda name: single[name])
    yield Finding(
        "telling_files",
        "warning",
        f"properties of the files predict the class: AUROC {together['value']:.2f} [{low:.2f}, {high:.2f}] without a "
        f"pixel (only {best}: {single[best]:.2f}); a network may learn these instead: bring all images to one shape "
        "and compression, and compare with the run's baselines.",
        len(table),
        numbers={"auroc": together["value"], "ci95": together["ci95"], "single": single},
    )


def _auroc(properties: pd.DataFrame, table: pd.DataFrame, data: AuditInput) -> dict[str, Any]:
    """AUROC over patients of a small random forest, cross-validated by patient, and its 95 % interval."""
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
    scores = cross_val_predict(forest, x, table["target"], groups=table["group_id"], cv=cut, method="predict_proba")
    columns = [1] if data.source.task == "binary" else list(range(len(data.source.classes)))
    truth = table["target"].to_numpy(dtype=int)[:, None] == columns
    interval = auroc_interval(truth, scores[:, columns], pd.factorize(table["group_id"])[0].astype(np.int64))
    value = np.mean([roc_auc_score(truth[:, k], scores[:, column]) for k, column in enumerate(columns)])
    return {"value": float(value), "ci95": [interval.low, interval.high]}


def unusual_shape(data: AuditInput, files: FileProperties) -> Iterator[Finding]:
    """Images whose native height or width is more than twice, or less than half, the usual one."""
    names = [name for name in ("height", "width", "Rows", "Columns") if name in files.table]
    if not names:
        return
    sizes = files.table[names].to_numpy(dtype=float)
    usual = np.nanmedian(sizes, axis=0)
    with np.errstate(divide="ignore"):
        factor = np.nanmax(np.abs(np.log2(sizes / usual)), axis=1, initial=0.0)
    odd = np.flatnonzero(factor > 1)
    if len(odd):
        oddest = odd[np.argsort(-factor[odd], kind="stable")]
        usual_size = ", ".join(f"{name.lower()} {size:g}" for name, size in zip(names, usual, strict=True))
        yield Finding(
            "unusual_shape",
            "note",
            f"{len(odd)} images are over twice as large or less than half as large as usual ({usual_size} pixels): "
            "check whether they are of the same kind.",
            len(odd),
            samples=[data.ids[files.rows[position]] for position in oddest[:MOST_LISTED]],
            numbers={"inspected": len(files.rows)},
        )


def identifying_tags(data: AuditInput, files: FileProperties) -> Iterator[Finding]:
    """Which DICOM attributes name the patient; never their values."""
    counts: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {}
    dicom = [(row, path) for row, path in zip(files.rows, files.paths, strict=True) if path and is_dicom(path)]
    if not dicom:
        return
    import pydicom  # not at the start of every training: its decoders take .2 s to import

    from vesalius.data.formats.dicom.identifying import burned_in_reason, identifying_values

    for row, path in dicom[:: max(1, -(-len(dicom) // MOST_READ))]:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # damaged: `unreadable` lists it
            continue
        counts.update(identifying_values(header).keys())
        if reason := burned_in_reason(header):
            reasons.setdefault(reason, []).append(data.ids[row])
    if counts:
        attributes = ", ".join(name for name, _ in counts.most_common(6))
        yield Finding(
            "identifying_tags",
            "note",
            f"the files name the patients in {len(counts)} attributes ({attributes}, ...): none of them enters cache, "
            "run folder or page, but de-identify the files before you pass them on (PS3.15).",
            max(counts.values()),
            numbers={"attributes": dict(counts.most_common())},
        )
    for reason, samples in reasons.items():
        yield Finding(
            "text_in_pixels",
            "warning",
            f"{len(samples)} images may show the patient's name: {reason}; inspect them before you share anything.",
            len(samples),
            samples=samples[:MOST_LISTED],
        )
