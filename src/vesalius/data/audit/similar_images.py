"""Images that occur twice without being equal: after another compression, size, brightness or contrast.

Two images are compared twice, each time by normalised correlation, which brightness and contrast do not change: as
thumbnails of 16 pixels per side, and in their fine structure (at up to 64 pixels per side, less a Gaussian of 2.5
pixels). From both, the mean of the set is subtracted first, since all sections of one organ are alike. The similarity
of a pair is the mean of the two correlations.

The threshold was fixed on phantoms only (`lesions`, seeds 101, 102, 103 at 64, 28 and 128 pixels). The most similar
pair of different patients against the least similar of 150 copies
(`pytest -m proof -s tests/data/audit/test_similar_images_proof.py`):

    pixels   other patients   JPEG 75   JPEG 50   to .9 and back   to 1.1 and back   gamma .7
    28       .77              .90       .83       .78              .86               .85
    64       .66              .96       .93       .94              .96               .89
    128      .60              1.00      1.00      1.00             1.00              .92

Turned, mirrored, cropped or shifted copies are not found.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vesalius.data.audit.nearest import Floats, NearestVectors, Rows
from vesalius.data.samples import SPLITS
from vesalius.data.store.blocks import map_blocks, split_rows, thread_per_core
from vesalius.data.store.store import Store

THRESHOLD = 0.80
#: Pairs whose thumbnails are less alike are not compared in detail; copies in the table above had .83 or more.
CANDIDATE = 0.75
#: How many of an image's most similar thumbnails in another split are compared in detail.
_NEAREST = 8
_COARSE_SIDE, _FINE_SIDE = 16, 64
_SIGMA = 2.5
_PAIRS_AT_ONCE = 256
_MEAN_IMAGES = 2_000
#: The mean of a few images is mostly these images themselves: it is taken as if this many empty ones were among them.
_SHRINKAGE = 20

Pair = tuple[int, int, float]


def nearly_equal_pairs(store: Store, table: pd.DataFrame, *, all_pairs: bool = False) -> list[Pair]:
    """Pairs of samples of different groups in different splits that are equal, or nearly so.

    Series are compared by their middle frames. Comparisons grow with n log n, memory by a kilobyte per image.

    Args:
        store: of the images.
        table: with their splits and groups.
        all_pairs: compare the thumbnails of all images of two splits, however many they are (`NearestVectors`):
            comparisons then grow with the square of their number.

    Returns:
        Row numbers, the one of the earlier split first, and their similarity (1: equal); the most similar first.
    """
    parts = [np.flatnonzero((table["split"] == name).to_numpy()) for name in SPLITS]
    if sum(len(part) > 0 for part in parts) < 2:
        return []
    groups = pd.factorize(table["group_id"])[0]
    thumbnails = _thumbnails(store)
    first, second, coarse = _candidates(thumbnails, parts, groups, all_pairs)
    if not len(first):
        return []
    alike = (coarse + _FineStructure(store).alike(first, second)) / 2
    near = alike >= THRESHOLD
    rows = zip(first[near].tolist(), second[near].tolist(), alike[near].tolist(), strict=True)
    return sorted(((a, b, min(float(value), 1.0)) for a, b, value in rows), key=lambda pair: (-pair[2], pair[:2]))


def _candidates(
    thumbnails: Floats, parts: list[Rows], groups: NDArray[np.intp], all_pairs: bool
) -> tuple[Rows, Rows, Floats]:
    """Rows of an earlier and of a later split whose thumbnails are alike, and their correlations.

    Of each image the `_NEAREST` of each earlier split.
    """
    found = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))]
    filled = [part[thumbnails[part].any(axis=1)] for part in parts]
    for at, references in enumerate(filled):
        nearest = NearestVectors(thumbnails, references, groups, all_pairs=all_pairs)
        for queries in filled[at + 1 :] if len(references) else ():
            rows, best = nearest.search(queries, min(_NEAREST, len(references)), CANDIDATE)
            query, place = np.nonzero(best > CANDIDATE)
            found.append((rows[query, place], queries[query], best[query, place]))
    first, second, coarse = map(np.concatenate, zip(*found, strict=True))
    return first, second, coarse


def _thumbnails(store: Store) -> Floats:
    """(N, 256) of length 1, less the mean of all; 0 for images without content."""
    found = np.concatenate(list(map_blocks(store, lambda rows: _unit(_reduced(store, rows, _COARSE_SIDE)))))
    return _unit(found - found.sum(axis=0) / (len(found) + _SHRINKAGE))


class _FineStructure:
    """Compares pairs of images by the detail that a blur removes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        rows = torch.arange(0, len(store), max(1, -(-len(store) // _MEAN_IMAGES)))
        total = sum(map_blocks(store, lambda block: self._of_block(block).sum(axis=0), rows))
        self._common = total / (len(rows) + _SHRINKAGE)

    def alike(self, first: Rows, second: Rows) -> Floats:
        """Correlation of the fine structure of each pair of rows."""
        cuts = range(_PAIRS_AT_ONCE, len(first), _PAIRS_AT_ONCE)
        with thread_per_core() as pool:
            return np.concatenate(list(pool.map(self._of_pairs, np.split(first, cuts), np.split(second, cuts))))

    def _of_pairs(self, first: Rows, second: Rows) -> Floats:
        rows, place = np.unique(np.concatenate([first, second]), return_inverse=True)
        fine = _unit(self._of(torch.from_numpy(rows)) - self._common)
        found: Floats = np.einsum("ij,ij->i", fine[place[: len(first)]], fine[place[len(first) :]])
        return found

    def _of(self, rows: torch.Tensor) -> Floats:
        return np.concatenate([self._of_block(block) for block in split_rows(self._store, rows)])

    def _of_block(self, rows: torch.Tensor) -> Floats:
        images = _reduced(self._store, rows, _FINE_SIDE)
        return _unit(images - gaussian_filter(images, (0, _SIGMA, _SIGMA)))


def _reduced(store: Store, rows: torch.Tensor, side: int) -> Floats:
    """(B, h, w) grey images of at most `side` pixels per side."""
    images = store.middle_frames(rows).to(torch.float32).mean(dim=1, keepdim=True)
    sides = [min(side, length) for length in images.shape[-2:]]
    small: Floats = torch.nn.functional.interpolate(images, sides, mode="bilinear", antialias=True)[:, 0].numpy()
    return small


def _unit(images: Floats) -> Floats:
    """(B, pixels) of mean 0 and length 1; 0 for constant images."""
    flat = images.reshape(len(images), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = length <= 1e-5 * (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12)
    found: Floats = np.where(constant, 0, centred / np.where(constant, 1, length)).astype(np.float32)
    return found
