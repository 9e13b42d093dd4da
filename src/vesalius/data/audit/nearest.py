"""The most similar of many unit vectors for each of some others, in large sets without comparing all pairs.

Up to `EXHAUSTIVE` references, a query is compared with each. More are sorted into a tree: on each level, the references
of a cell are put into up to 32 clusters (spherical k-means of a random sample), so that one of the last level holds
`LEAF`. A query is compared with all centres of the last level that has few, follows from there, level by level, the
`_BEAM` cells whose centres are the most similar to it, and is compared with the references where it arrives: cell by
cell, the most similar first, until there were `_COMPARED`, since cells differ in size and most queries come to large
ones. So comparisons of all grow with n log n, and some neighbours are not found: of 100,000 vectors 2 % of those with a
similarity of .90 to .95, and 8 % with .80 to .85, that a comparison with all finds
(`pytest -m proof -s tests/data/audit/test_nearest.py`).

N vectors of D components, Q queries, K neighbours of each, P pairs of a query and a cell.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.store.blocks import one_thread_per_kernel, thread_per_core

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

#: References that are all compared.
EXHAUSTIVE = 20_000
LEAF = 256
_MOST_BRANCHES = 32
_BEAM = 64
_COMPARED = 12_000
_ROUNDS = 4
#: Centres of a level with which a query is compared without those of the levels before it.
_CENTRES_AT_ONCE = 1_024
#: Members of a cell, for each of its clusters, that its centres are found from.
_SAMPLE = 128
_REFERENCES_AT_ONCE = 4_096
_QUERIES_AT_ONCE = 4_096


class NearestVectors:
    """References among which the nearest are searched.

    Args:
        vectors: (N, D) of length 1.
        references: rows of the references.
        groups: (N,) vectors of one group are not compared.
        all_pairs: compare every query with every reference, also with more than `EXHAUSTIVE`.

    Attributes:
        compared: how many similarities were computed so far.
    """

    def __init__(self, vectors: Floats, references: Rows, groups: NDArray[np.intp], *, all_pairs: bool = False) -> None:
        self.compared = 0
        self._vectors, self._groups, self._references = vectors, groups, references
        self._start: Floats | None = None  # all centres of the last level that has few
        self._levels: list[list[Floats]] = []  # of each cell of a later level, its centres
        self._cells = [references]
        if len(references) > EXHAUSTIVE and not all_pairs:
            generator = np.random.default_rng(0)
            cells = len(references) / LEAF
            depth = int(np.ceil(np.log(cells) / np.log(_MOST_BRANCHES)))
            with one_thread_per_kernel():
                for _ in range(depth):
                    self._split(generator, round(cells ** (1 / depth)))

    def search(self, queries: Rows, count: int, least: float = -1.0) -> tuple[Rows, Floats]:
        """The nearest references of other groups.

        Args:
            queries: (Q,) rows.
            count: how many are wanted, K; at most as many as there are references.
            least: the similarity that all wanted ones exceed.

        Returns:
            (Q, K) rows and similarities; `least` where fewer were found.
        """
        parts = np.split(queries, range(_QUERIES_AT_ONCE, len(queries), _QUERIES_AT_ONCE))
        with thread_per_core() as pool:
            found = list(pool.map(lambda part: self._search(part, count, least), parts))
        rows, best = map(np.concatenate, zip(*found, strict=True))
        return rows, best

    def _search(self, queries: Rows, count: int, least: float) -> tuple[Rows, Floats]:
        rows = torch.zeros(len(queries), count, dtype=torch.int64)
        best = torch.full((len(queries), count), least)  # of each query in descending order
        for cell, places in self._arrivals(queries):
            members = self._cells[cell]
            for begin in range(0, len(members), _REFERENCES_AT_ONCE):
                part = members[begin : begin + _REFERENCES_AT_ONCE]
                alike = self._similarity(queries[places], self._vectors[part])
                nearer = alike.amax(dim=1) > best[places, -1]  # sorting takes as long as comparing, and few need it
                asking, alike = places[nearer.numpy()], alike[nearer]
                if not len(asking):
                    continue
                same = self._groups[queries[asking]][:, None] == self._groups[part]
                alike, near = alike.masked_fill_(torch.from_numpy(same), least).topk(min(count, len(part)), dim=1)
                joined = torch.cat([best[asking], alike], dim=1)
                numbers = torch.cat([rows[asking], torch.from_numpy(part)[near]], dim=1)
                best[asking], chosen = joined.topk(count, dim=1)
                rows[asking] = numbers.gather(1, chosen)
        return rows.numpy(), best.numpy()

    def _split(self, generator: np.random.Generator, branches: int) -> None:
        """Add a level: each cell is split by the nearest of its centres."""
        centres, parts = list[Floats](), list[Rows]()
        for cell in self._cells:
            sample = generator.permutation(cell)[: branches * _SAMPLE]
            of_cell = self._vectors[sample[:branches]]
            for _ in range(_ROUNDS):
                nearest = self._similarity(sample, of_cell).argmax(dim=1).numpy()
                filled = np.unique(nearest)  # of equal centres the first takes all
                sums = np.stack([self._vectors[sample[nearest == number]].sum(axis=0) for number in filled])
                of_cell = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
            nearest = self._similarity(cell, of_cell).argmax(dim=1).numpy()
            filled = np.unique(nearest)
            centres.append(of_cell[filled])
            parts += [cell[nearest == number] for number in filled]
        if len(parts) <= _CENTRES_AT_ONCE:
            self._start = np.concatenate(centres)
        else:
            self._levels.append(centres)
        self._cells = parts

    def _arrivals(self, queries: Rows) -> Iterator[tuple[int, Rows]]:
        """Each cell with the places of the queries that are compared with its references."""
        cells = np.zeros((len(queries), 1), np.intp)  # of each query, where its beam has arrived; -1 for nowhere
        if self._start is not None:
            alike = self._similarity(queries, self._start)
            cells = alike.topk(min(_BEAM, alike.shape[1]), dim=1)[1].numpy()
        for centres in self._levels:
            counts = np.array([len(of_cell) for of_cell in centres])
            first, most = np.cumsum(counts) - counts, int(counts.max())
            alike = torch.full((*cells.shape, most), -torch.inf)
            for cell, where in _by_cell(cells):
                alike[where[0], where[1], : counts[cell]] = self._similarity(queries[where[0]], centres[cell])
            best, chosen = alike.flatten(1).topk(min(_BEAM, cells.shape[1] * most), dim=1)
            parent, number = np.divmod(chosen.numpy(), most)
            cells = np.take_along_axis(first[cells], parent, axis=1) + number
            cells[best.numpy() == -np.inf] = -1
        sizes = np.array([len(members) for members in self._cells])[cells]  # nowhere stands last: any size will do
        cells[np.cumsum(sizes, axis=1) - sizes >= _COMPARED] = -1
        yield from ((cell, places) for cell, (places, _) in _by_cell(cells))

    def _similarity(self, rows: Rows, others: Floats) -> torch.Tensor:
        self.compared += len(rows) * len(others)
        return torch.from_numpy(self._vectors[rows]) @ torch.from_numpy(others).T


def _by_cell(cells: Rows) -> Iterator[tuple[int, tuple[Rows, Rows]]]:
    """The numbers in (Q, B) cells, except -1, each with where it stands."""
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")[np.count_nonzero(flat < 0) :]
    names, starts = np.unique(flat[order], return_index=True)
    for name, at in zip(names.tolist(), np.split(order, starts)[1:], strict=True):
        yield name, np.divmod(at, cells.shape[1])
