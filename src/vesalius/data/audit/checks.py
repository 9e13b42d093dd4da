"""Checks of the sample table and the decoded images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vesalius.data.audit.duplicates import across_splits, equal_samples, middle_images, pixel_hashes
from vesalius.data.audit.findings import Finding
from vesalius.data.audit.near import Pair, nearly_equal_pairs
from vesalius.data.samples import SPLITS, class_matrix, target_columns
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store

#: A check's p-value below this is reported; checks of several classes share it.
ALPHA = 0.01
_PERMUTATIONS = 2_000
_BEATEN = 10
_GREY_LEVELS = 32
_FEW_PATIENTS = 10
_SHOWN = 50
#: Robust standard deviations from the median; in 10,000 normal samples one beyond it is rarer than 1 in 100,000.
_FAR = 8.0


@dataclass(frozen=True)
class Audited:
    """What is looked at.

    Attributes:
        table: the samples with their splits; row i is sample i of the store.
        store: their decoded images.
        source: where they come from.
        train_classes: training samples were picked, and are of these classes alone; None for all.
    """

    table: pd.DataFrame
    store: Store
    source: Source
    train_classes: Sequence[str] | None = None

    @cached_property
    def ids(self) -> list[str]:
        """Names of the samples."""
        return [str(name) for name in self.table["sample_id"]]

    @cached_property
    def split(self) -> NDArray[np.object_]:
        """The split of each sample; something else than train, val and test for one that is in none."""
        return np.asarray(self.table["split"].astype(object).where(self.table["split"].notna(), ""))

    @cached_property
    def equal(self) -> list[list[int]]:
        """Rows of equal samples, of any patients and splits."""
        return equal_samples(pixel_hashes(self.store))

    @cached_property
    def near(self) -> list[Pair]:
        """Nearly equal samples of different patients in different splits; equal ones are not among them."""
        equal_of = {row: number for number, rows in enumerate(self.equal) for row in rows}
        pairs = nearly_equal_pairs(self.store, self.table)
        return [pair for pair in pairs if pair[0] not in equal_of or equal_of[pair[0]] != equal_of.get(pair[1])]

    def named(self, pairs: list[Pair]) -> list[tuple[str, str, float]]:
        """Pairs of rows as pairs of names, as many as a person may want to see."""
        return [(self.ids[a], self.ids[b], round(alike, 4)) for a, b, alike in pairs[:_SHOWN]]


def groups_across_splits(audited: Audited) -> Iterator[Finding]:
    """Patients whose images are in two splits."""
    used = audited.table[np.isin(audited.split, SPLITS)]
    per_group = used.groupby("group_id")["split"].nunique()
    straddling = per_group.index[per_group > 1]
    if len(straddling):
        samples = used["sample_id"][used["group_id"].isin(straddling)].astype(str).tolist()
        yield Finding(
            "groups_across_splits",
            "error",
            f"{len(straddling)} patients have images in two splits ({len(samples)} images): what is learned of a "
            "patient is tested on the same one; put all images of a patient into one split.",
            len(straddling),
            samples=samples[:_SHOWN],
        )


def exact_duplicates(audited: Audited) -> Iterator[Finding]:
    """Equal images in two splits, and inside one."""
    crossing = [(a, b, 1.0) for rows in audited.equal for a, b in across_splits(rows, audited.split)]
    if crossing:
        yield Finding(
            "exact_duplicates",
            "error",
            f"{len(crossing)} images stand in two splits, equal to the last pixel: take one of each out.",
            len(crossing),
            pairs=audited.named(crossing),
        )
    inside = [
        (rows[0], other, 1.0)
        for rows in audited.equal
        for other in rows[1:]
        if audited.split[rows[0]] == audited.split[other]
    ]
    if inside:
        yield Finding(
            "repeated_images",
            "note",
            f"{len(inside)} images repeat another of the same split: they count more than once.",
            len(inside),
            pairs=audited.named(inside),
        )


def near_duplicates(audited: Audited) -> Iterator[Finding]:
    """Nearly equal images of different patients in two splits."""
    pairs = audited.near
    if pairs:
        later = sorted({b for _, b, _ in pairs})
        yield Finding(
            "near_duplicates",
            "error",
            f"{len(later)} images of validation or test nearly equal one of another patient in an earlier split "
            f"({len(pairs)} pairs): copies after another compression, size or brightness, or one patient under two "
            "names; look at them, and give both one group. Results without them: evaluation.drop_duplicates=true.",
            len(later),
            pairs=audited.named(pairs),
        )


def conflicting_labels(audited: Audited) -> Iterator[Finding]:
    """Equal images whose targets differ."""
    targets = audited.table[target_columns(audited.table)].to_numpy(dtype=float)
    conflicts = [
        (rows[0], row, 1.0)
        for rows in audited.equal
        for row in rows[1:]
        if not np.array_equal(targets[row], targets[rows[0]], equal_nan=True)
    ]
    if conflicts:
        yield Finding(
            "conflicting_labels",
            "error",
            f"{len(conflicts)} images are equal to another but labelled differently: at most one can be right.",
            len(conflicts),
            pairs=audited.named(conflicts),
        )


def few_patients(audited: Audited) -> Iterator[Finding]:
    """Splits in which a class has hardly any patient."""
    if audited.source.task in ("regression", "unlabelled"):
        return
    present = class_matrix(audited.table, audited.source.task, audited.source.classes)
    for name in SPLITS:
        here = audited.split == name
        if not here.any():
            continue
        groups = audited.table["group_id"].to_numpy()
        patients = [len(set(groups[here & present[:, label]])) for label in range(present.shape[1])]
        picked = audited.train_classes if name == "train" else None
        few = {
            label: count
            for label, count in zip(audited.source.classes, patients, strict=True)
            if count < _FEW_PATIENTS and (picked is None or label in picked)
        }
        if few:
            said = ", ".join(f"{count} of `{label}`" for label, count in few.items())
            yield Finding(
                "few_patients",
                "note" if all(few.values()) else "warning",
                f"the split `{name}` has few patients: {said}; "
                + (
                    "intervals will be wide."
                    if all(few.values())
                    else "a class without any cannot be learned or judged."
                ),
                len(few),
                numbers={"split": name, "patients": few},
            )


def prevalence_shift(audited: Audited) -> Iterator[Finding]:
    """Classes whose share differs between splits by more than a random split by patient would do."""
    task, classes = audited.source.task, audited.source.classes
    used = np.isin(audited.split, SPLITS)
    if task in ("regression", "unlabelled") or audited.train_classes is not None or not used.any():
        return
    present = class_matrix(audited.table[used], task, classes).astype(np.float64)
    group = pd.factorize(audited.table["group_id"][used])[0]
    split = pd.factorize(audited.split[used])[0]
    for label, p in enumerate(_shift_p_values(present, group, split)):
        if p * len(classes) < ALPHA:
            names = list(dict.fromkeys(audited.split[used]))
            shares = {name: float(present[split == k, label].mean()) for k, name in enumerate(names)}
            said = ", ".join(f"{share:.1%} of {name}" for name, share in shares.items())
            yield Finding(
                "prevalence_shift",
                "warning",
                f"`{classes[label]}` is {said}: more than patients dealt at random would differ (p = {p:.2g}); "
                "thresholds and calibration may not carry over.",
                len(shares),
                numbers={"class": classes[label], "shares": shares, "p": p},
            )


def _shift_p_values(present: NDArray[np.float64], group: NDArray[np.intp], split: NDArray[np.intp]) -> list[float]:
    """Of each class, how often patients dealt to the splits at random differ as much.

    A permutation test, which stops as soon as every class has been beaten ten times (Besag & Clifford, Biometrika
    78:301, 1991): of a clean set that is soon.
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


def unusual_pixels(audited: Audited) -> Iterator[Finding]:
    """Images without any content, and images whose brightness or contrast is far from the others'."""
    statistics = []
    for rows in torch.split(torch.arange(len(audited.store)), 1024):
        pixels = middle_images(audited.store, rows).to(torch.float64).flatten(1)
        columns = [pixels.mean(1), pixels.std(1, correction=0), _entropy(pixels)]
        statistics.append(torch.stack(columns, dim=1))
    mean, spread, entropy = torch.cat(statistics).numpy().T
    constant = np.flatnonzero(spread == 0)
    if len(constant):
        yield Finding(
            "unusual_pixels",
            "warning",
            f"{len(constant)} images are of one grey value throughout: nothing can be seen in them; take them out.",
            len(constant),
            samples=[audited.ids[row] for row in constant[:_SHOWN]],
        )
    distance = np.max([_robust_distance(values) for values in (mean, spread, entropy)], axis=0)
    far = np.flatnonzero((distance > _FAR) & (spread > 0))
    if len(far):
        worst = far[np.argsort(-distance[far])]
        yield Finding(
            "unusual_pixels",
            "warning",
            f"{len(far)} images are far brighter, darker, flatter, harsher, emptier or noisier than the others (mean, "
            f"spread or entropy of grey beyond {_FAR:g} robust standard deviations): another device, window or kind "
            "of image?",
            len(far),
            samples=[audited.ids[row] for row in worst[:_SHOWN]],
        )


def _entropy(pixels: torch.Tensor) -> torch.Tensor:
    """(B,) entropy, in bits, of each image's histogram of 32 levels between its darkest and brightest pixel."""
    low, high = pixels.amin(1, keepdim=True), pixels.amax(1, keepdim=True)
    level = ((pixels - low) / (high - low).clamp(min=1e-12) * (_GREY_LEVELS - 1)).round().to(torch.int64)
    counts = torch.zeros(len(pixels), _GREY_LEVELS, dtype=torch.float64)
    counts.scatter_add_(1, level, torch.ones_like(pixels))
    entropy: torch.Tensor = torch.special.entr(counts / pixels.shape[1]).sum(1) / np.log(2)
    return entropy


def _robust_distance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the median in standard deviations, as the median absolute deviation estimates them."""
    off = np.abs(values - np.median(values))
    scale = 1.4826 * np.median(off)
    return off / scale if scale > 0 else np.zeros_like(off)
