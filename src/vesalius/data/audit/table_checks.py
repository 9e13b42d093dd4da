"""Checks of the sample table: patients in two splits, few patients, classes whose share differs between splits."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.findings import MOST_LISTED, Finding
from vesalius.data.samples import SPLITS, class_matrix

#: A check's p-value below this is reported; checks of several classes share it.
ALPHA = 0.01
_PERMUTATIONS = 2_000
_BEATEN = 10
_FEW_PATIENTS = 10


def groups_across_splits(data: AuditInput) -> Iterator[Finding]:
    """Patients whose images are in two splits."""
    used = data.table[np.isin(data.split, SPLITS)]
    per_group = used.groupby("group_id")["split"].nunique()
    straddling = per_group.index[per_group > 1]
    if len(straddling):
        samples = used["sample_id"][used["group_id"].isin(straddling)].astype(str).tolist()
        yield Finding(
            "groups_across_splits",
            "error",
            f"{len(straddling)} patients have images in two splits ({len(samples)} images): what a model learns of a "
            "patient is then tested on the same one; put all images of a patient into one split.",
            len(straddling),
            samples=samples[:MOST_LISTED],
        )


def few_patients(data: AuditInput) -> Iterator[Finding]:
    """Splits in which a class has hardly any patient."""
    if data.source.task in ("regression", "unlabelled"):
        return
    present = class_matrix(data.table, data.source.task, data.source.classes)
    for name in SPLITS:
        here = data.split == name
        if not here.any():
            continue
        groups = data.table["group_id"].to_numpy()
        patients = [len(set(groups[here & present[:, label]])) for label in range(present.shape[1])]
        chosen = data.train_classes if name == "train" else None
        few = {
            label: count
            for label, count in zip(data.source.classes, patients, strict=True)
            if count < _FEW_PATIENTS and (chosen is None or label in chosen)
        }
        if few:
            counts = ", ".join(f"{count} of `{label}`" for label, count in few.items())
            yield Finding(
                "few_patients",
                "note" if all(few.values()) else "warning",
                f"the split `{name}` has few patients: {counts}; "
                + (
                    "intervals will be wide."
                    if all(few.values())
                    else "a class without any cannot be learned or tested: change the fractions, or leave it out."
                ),
                len(few),
                numbers={"split": name, "patients": few},
            )


def prevalence_shift(data: AuditInput) -> Iterator[Finding]:
    """Classes whose share differs between splits by more than in a random split by patient."""
    task, classes = data.source.task, data.source.classes
    used = np.isin(data.split, SPLITS)
    if task in ("regression", "unlabelled") or data.train_classes is not None or not used.any():
        return
    present = class_matrix(data.table[used], task, classes).astype(np.float64)
    group = pd.factorize(data.table["group_id"][used])[0]
    split = pd.factorize(data.split[used])[0]
    for label, p in enumerate(_shift_p_values(present, group, split)):
        if p * len(classes) < ALPHA:
            names = list(dict.fromkeys(data.split[used]))
            shares = {name: float(present[split == k, label].mean()) for k, name in enumerate(names)}
            listed_shares = ", ".join(f"{share:.1%} of {name}" for name, share in shares.items())
            yield Finding(
                "prevalence_shift",
                "warning",
                f"`{classes[label]}` is {listed_shares}: a larger difference than chance allows (p = {p:.2g}); "
                "thresholds and calibration may not carry over: check how the splits were collected.",
                len(shares),
                numbers={"class": classes[label], "shares": shares, "p": p},
            )


def _shift_p_values(present: NDArray[np.float64], group: NDArray[np.intp], split: NDArray[np.intp]) -> list[float]:
    """For each class, how often patients assigned to the splits at random differ as much.

    A permutation test, which stops as soon as every class has been beaten ten times (Besag & Clifford, Biometrika
    78:301, 1991): for a clean set that is soon.
    """
    groups = group.max() + 1
    size = np.bincount(group, minlength=groups).astype(np.float64)
    members = np.column_stack([np.bincount(group, column, groups) for column in present.T])
    of_group = np.zeros(groups, dtype=np.intp)
    of_group[group] = split
    count = int(split.max()) + 1

    def spread(assigned: NDArray[np.intp]) -> NDArray[np.float64]:
        chosen = assigned[None, :] == np.arange(count)[:, None]
        total = chosen @ size
        share = (chosen @ members) / np.maximum(total, 1)[:, None]
        return np.asarray((total[:, None] * (share - present.mean(axis=0)) ** 2).sum(axis=0))

    random = np.random.default_rng(0)
    observed = spread(of_group)
    beaten, draws = np.zeros(present.shape[1]), 0
    while draws < max(_PERMUTATIONS, 2 * len(beaten) / ALPHA) and beaten.min() < _BEATEN:
        beaten += spread(random.permutation(of_group)) >= observed - 1e-12
        draws += 1
    return [float(p) for p in (1 + beaten) / (draws + 1)]
