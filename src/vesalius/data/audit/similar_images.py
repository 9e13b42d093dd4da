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

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vesalius.data.samples import SPLITS
from vesalius.data.store.store import Store

THRESHOLD = 0.80
#: Pairs whose thumbnails are less alike are not compared in detail; copies in the table above had .83 or more.
CANDIDATE = 0.75
#: How many of an image's most similar thumbnails in another split are compared in detail.
_NEAREST = 8
_COARSE_SIDE, _FINE_SIDE = 16, 64
_SIGMA = 2.5
_IMAGES_AT_ONCE = 1024
_REFERENCES_AT_ONCE = 16_384
_PAIRS_AT_ONCE = 1024
_MEAN_IMAGES = 2_000
#: The mean of a few images is mostly these images themselves: it is taken as if this many empty ones were among them.
_SHRINKAGE = 20

Pair = tuple[int, int, float]
Floats = NDArray[np.float32]
Rows = NDArray[np.intp]


def nearly_equal_pairs(store: Store, table: pd.DataFrame) -> list[Pair]:
    """Pairs of samples of different groups in different splits that are equal, or nearly so.

    Series are compared by their middle frames. Time grows with the square of the number of images, memory by a kilobyte
    per image.

    Returns:
        Row numbers, the one of the earlier split first, and their similarity (1: equal); the most similar first.
    """
    parts = [np.flatnonzero((table["split"] == name).to_numpy()) for name in SPLITS]
    if sum(len(part) > 0 for part in parts) < 2:
        return []
    groups = pd.factorize(table["group_id"])[0]
    thumbnails, fine = _thumbnails(store), _FineStructure(store)
    found: list[Pair] = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        for candidates in _candidates(thumbnails, parts[first], parts[second], groups):
            alike = (candidates[2] + fine.alike(candidates[0], candidates[1])) / 2
            near = alike >= THRESHOLD
            rows = zip(candidates[0][near].tolist(), candidates[1][near].tolist(), alike[near].tolist(), strict=True)
            found += [(a, b, min(float(value), 1.0)) for a, b, value in rows]
    return sorted(found, key=lambda pair: (-pair[2], pair[:2]))


def _candidates(
    thumbnails: Floats, first: Rows, second: Rows, groups: NDArray[np.intp]
) -> Iterator[tuple[Rows, Rows, Floats]]:
    """For each image of the second split the nearest thumbnails of the first: blocks of rows, rows, correlations."""
    nearest = min(_NEAREST, len(first))
    for start in range(0, len(second) if nearest else 0, _IMAGES_AT_ONCE):
        queries = second[start : start + _IMAGES_AT_ONCE]
        best = torch.full((len(queries), nearest), -1.0)
        rows = torch.zeros(len(queries), nearest, dtype=torch.int64)
        for begin in range(0, len(first), _REFERENCES_AT_ONCE):
            references = first[begin : begin + _REFERENCES_AT_ONCE]
            alike = thumbnails[queries] @ thumbnails[references].T
            alike[groups[queries][:, None] == groups[references]] = -1
            joined = torch.cat([best, torch.from_numpy(alike)], dim=1)
            numbers = torch.cat([rows, torch.from_numpy(references).expand(len(queries), -1)], dim=1)
            best, chosen = joined.topk(nearest, dim=1)
            rows = numbers.gather(1, chosen)
        query, place = np.nonzero(best.numpy() >= CANDIDATE)
        for cut in range(0, len(query), _PAIRS_AT_ONCE):
            q, p = query[cut : cut + _PAIRS_AT_ONCE], place[cut : cut + _PAIRS_AT_ONCE]
            yield rows.numpy()[q, p], queries[q], best.numpy()[q, p]


def _thumbnails(store: Store) -> Floats:
    """(N, 256) of length 1, less the mean of all; 0 for images without content."""
    blocks = torch.split(torch.arange(len(store)), _IMAGES_AT_ONCE)
    found = np.concatenate([_unit(_reduced(store, rows.numpy(), _COARSE_SIDE)) for rows in blocks])
    return _unit(found - found.sum(axis=0) / (len(found) + _SHRINKAGE))


class _FineStructure:
    """Compares pairs of images by the detail that a blur removes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        rows = np.arange(0, len(store), max(1, -(-len(store) // _MEAN_IMAGES)))
        total = sum(self._of(rows[k : k + _PAIRS_AT_ONCE]).sum(axis=0) for k in range(0, len(rows), _PAIRS_AT_ONCE))
        self._common = total / (len(rows) + _SHRINKAGE)

    def alike(self, first: Rows, second: Rows) -> Floats:
        """Correlation of the fine structure of each pair of rows."""
        rows, place = np.unique(np.concatenate([first, second]), return_inverse=True)
        fine = _unit(self._of(rows) - self._common)
        found: Floats = np.einsum("ij,ij->i", fine[place[: len(first)]], fine[place[len(first) :]])
        return found

    def _of(self, rows: Rows) -> Floats:
        images = _reduced(self._store, rows, _FINE_SIDE)
        return _unit(images - gaussian_filter(images, (0, _SIGMA, _SIGMA)))


def _reduced(store: Store, rows: Rows, side: int) -> Floats:
    """(B, h, w) grey images of at most `side` pixels per side."""
    images = store.middle_frames(torch.from_numpy(rows)).to(torch.float32).mean(dim=1, keepdim=True)
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
