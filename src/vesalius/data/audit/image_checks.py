"""Checks of the images: copies, conflicting labels, odd grey values, printed text, files that cannot be decoded."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.config.diagnose import format_list
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.equal_images import across_splits
from vesalius.data.audit.findings import MOST_LISTED, Finding
from vesalius.data.audit.similar_images import Pair
from vesalius.data.formats.overlays import shows_print
from vesalius.data.samples import target_columns
from vesalius.data.store.blocks import map_blocks

#: At most this many images or headers are read one by one, spread evenly over the data set.
MOST_READ = 200
_GREY_LEVELS = 32
#: Robust standard deviations from the median; in 10,000 normal samples one beyond it is rarer than 1 in 100,000.
_FAR = 8.0


def exact_duplicates(data: AuditInput) -> Iterator[Finding]:
    """Equal images in two splits, and inside one."""
    crossing = [(a, b, 1.0) for rows in data.equal for a, b in across_splits(rows, data.split)]
    if crossing:
        yield Finding(
            "exact_duplicates",
            "error",
            f"{len(crossing)} images are in two splits, equal in every pixel ({_named(data, crossing)}): remove one of "
            "each pair. For results without them: evaluation.drop_duplicates=true.",
            len(crossing),
            pairs=data.id_pairs(crossing),
        )
    inside = [
        (rows[0], other, 1.0) for rows in data.equal for other in rows[1:] if data.split[rows[0]] == data.split[other]
    ]
    if inside:
        yield Finding(
            "repeated_images",
            "note",
            f"{len(inside)} images repeat another of the same split and count more than once: remove the copies.",
            len(inside),
            pairs=data.id_pairs(inside),
        )


def _named(data: AuditInput, pairs: list[Pair]) -> str:
    """The first few pairs, by the ids of the samples."""
    return format_list([f"{data.ids[a]} and {data.ids[b]}" for a, b, _ in pairs], most=3)


def near_duplicates(data: AuditInput) -> Iterator[Finding]:
    """Nearly equal images of different patients in two splits."""
    pairs = data.near
    if pairs:
        later = sorted({b for _, b, _ in pairs})
        yield Finding(
            "near_duplicates",
            "error",
            f"{len(later)} images of validation or test nearly equal one of another patient in an earlier split "
            f"({len(pairs)} pairs: {_named(data, pairs)}): copies of another compression, size or brightness, or one "
            "patient under two ids; inspect them, and give both one group. For results without them: "
            "evaluation.drop_duplicates=true.",
            len(later),
            pairs=data.id_pairs(pairs),
        )


def conflicting_labels(data: AuditInput) -> Iterator[Finding]:
    """Equal images whose targets differ."""
    targets = data.table[target_columns(data.table)].to_numpy(dtype=float)
    conflicts = [
        (rows[0], row, 1.0)
        for rows in data.equal
        for row in rows[1:]
        if not np.array_equal(targets[row], targets[rows[0]], equal_nan=True)
    ]
    if conflicts:
        yield Finding(
            "conflicting_labels",
            "error",
            f"{len(conflicts)} images equal another but have another label, and at most one can be right: correct the "
            "labels, or remove the images.",
            len(conflicts),
            pairs=data.id_pairs(conflicts),
        )


def unusual_pixels(data: AuditInput) -> Iterator[Finding]:
    """Images without any content, and images whose brightness or contrast is far from that of the others."""
    found = map_blocks(data.store, lambda rows: _statistics(data.store.middle_frames(rows)))
    mean, spread, entropy = torch.cat(list(found)).numpy().T
    constant = np.flatnonzero(spread == 0)
    if len(constant):
        yield Finding(
            "unusual_pixels",
            "warning",
            f"{len(constant)} images have the same grey value in every pixel and show nothing: remove them.",
            len(constant),
            samples=[data.ids[row] for row in constant[:MOST_LISTED]],
        )
    distance = np.max([_robust_distance(values) for values in (mean, spread, entropy)], axis=0)
    far = np.flatnonzero((distance > _FAR) & (spread > 0))
    if len(far):
        farthest = far[np.argsort(-distance[far])]
        yield Finding(
            "unusual_pixels",
            "warning",
            f"{len(far)} images are far brighter, darker, flatter, harsher, emptier or noisier than the others (mean, "
            f"spread or entropy of grey beyond {_FAR:g} robust standard deviations): check whether they come from "
            "another device, window or kind of image.",
            len(far),
            samples=[data.ids[row] for row in farthest[:MOST_LISTED]],
        )


def _statistics(images: torch.Tensor) -> torch.Tensor:
    """(B, 3) mean, standard deviation and entropy of each image.

    Entropy is that of a histogram of 32 levels between the darkest and the brightest pixel, in bits.
    """
    if images.dtype == torch.uint8:  # a histogram tells the same in a tenth of the time
        values = torch.arange(256, dtype=torch.float64).expand(len(images), -1)
        counts = torch.stack([torch.bincount(image.flatten(), minlength=256) for image in images]).to(torch.float64)
    else:
        values = images.flatten(1).to(torch.float64)
        counts = torch.ones_like(values)
    total = counts.sum(1)
    low = values.where(counts > 0, torch.inf).amin(1, keepdim=True)
    high = values.where(counts > 0, -torch.inf).amax(1, keepdim=True)
    mean = (values * counts).sum(1) / total
    spread = ((values - mean[:, None]) ** 2 * counts).sum(1).div(total).sqrt().where(high[:, 0] > low[:, 0], 0.0)
    level = ((values - low) / (high - low).clamp(min=1e-12) * (_GREY_LEVELS - 1)).round().clamp(0, _GREY_LEVELS - 1)
    of_level = torch.zeros(len(images), _GREY_LEVELS, dtype=torch.float64)
    of_level.scatter_add_(1, level.to(torch.int64), counts)
    entropy = torch.special.entr(of_level / total[:, None]).sum(1) / np.log(2)
    return torch.stack([mean, spread, entropy], dim=1)


def _robust_distance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the median in standard deviations, as the median absolute deviation estimates them."""
    off = np.abs(values - np.median(values))
    scale = 1.4826 * np.median(off)
    return off / scale if scale > 0 else np.zeros_like(off)


def text_in_pixels(data: AuditInput) -> Iterator[Finding]:
    """Images that seem to show lines of print, or static overlays of a clip; where they are masked, what is left.

    Of larger sets 200 are inspected, in their native size.
    """
    records: list[Any] = data.table.to_dict("records")
    records = records[:: max(1, -(-len(records) // MOST_READ))]
    inspected = f"of the {len(records)} inspected images"
    found = _with_print(data.source.image, records)
    if found:
        after = " after masking" if data.source.mask_text else ""
        yield Finding(
            "text_in_pixels",
            "warning",
            f"{len(found)} {inspected} seem to show text{after}: it may name the patient, and a network may read it; "
            + ("crop or blank it." if after else "crop or blank it, or mask it with data.source.mask_text=true."),
            len(found),
            samples=found[:MOST_LISTED],
            numbers={"inspected": len(records)},
        )
    if data.source.mask_text and (masked := _with_print(data.source.load, records)):
        yield Finding(
            "masked_text",
            "note",
            f"{len(masked)} {inspected} showed text, which is masked; {len(found)} still seem to show some.",
            len(masked),
            samples=masked[:MOST_LISTED],
            numbers={"inspected": len(records), "left": len(found)},
        )


def _with_print(load: Callable[[Any], NDArray[Any]], records: list[Any]) -> list[str]:
    """Samples that show text, or of a clip static overlays."""
    found = []
    for record in records:
        with contextlib.suppress(Exception):  # of a damaged file: `unreadable` lists it
            if shows_print(load(record)):
                found.append(str(record["sample_id"]))
    return found


def unreadable(data: AuditInput) -> Iterator[Finding]:
    """Samples that could not be decoded."""
    skipped = [*data.source.left_out, *data.store.skipped]
    if skipped:
        kinds = Counter(re.sub(r"^\S+ ", "", reason)[:60] for _, reason in skipped)
        yield Finding(
            "unreadable",
            "error",
            f"{len(skipped)} images cannot be decoded; the first: {skipped[0][1]}",
            len(skipped),
            samples=[name for name, _ in skipped[:MOST_LISTED]],
            numbers={"reasons": dict(kinds.most_common(10))},
        )
