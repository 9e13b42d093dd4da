"""The search for similar vectors: with all where there are few, with a small share where there are many."""

import numpy as np
import pytest
import torch

from vesalius.data.audit import nearest
from vesalius.data.audit.nearest import NearestVectors

COUNT = 8


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def drawn(count, size, seed=0):
    """Vectors whose variance lies in their first components, as that of images does."""
    return unit(np.random.default_rng(seed).normal(size=(count, size)) * np.arange(1, size + 1) ** -0.7)


def with_copies(vectors, queries, alike, seed=1):
    """Vectors whose last `queries` have these similarities to others, of which the rows are returned too."""
    random = np.random.default_rng(seed)
    of = random.choice(len(vectors) - queries, queries, replace=False)
    noise = drawn(queries, vectors.shape[1], seed + 1)
    noise = unit(noise - (noise * vectors[of]).sum(axis=1, keepdims=True) * vectors[of])
    vectors = vectors.copy()
    vectors[-queries:] = alike[:, None] * vectors[of] + np.sqrt(1 - alike**2)[:, None] * noise
    return vectors, of


def test_few_references_are_all_compared():
    vectors, groups = drawn(600, 16), np.arange(600) // 3
    search = NearestVectors(vectors, np.arange(500), groups)
    queries = np.arange(480, 600)
    rows, similarity = search.search(queries, COUNT)
    expected = (vectors[queries] @ vectors[:500].T).astype(np.float64)
    expected[groups[queries][:, None] == groups[:500]] = -1
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :COUNT])
    np.testing.assert_allclose(similarity, -np.sort(-expected, axis=1)[:, :COUNT], atol=1e-6)
    assert search.compared == len(queries) * 500


def test_many_references_are_not_all_compared_and_copies_are_found(monkeypatch):
    monkeypatch.setattr(nearest, "EXHAUSTIVE", 1000)
    monkeypatch.setattr(nearest, "LEAF", 16)
    per_query = {}
    for count in (4_000, 64_000):
        vectors, of = with_copies(drawn(count + 200, 32), 200, np.full(200, 0.95))
        queries = np.arange(count, count + 200)
        search = NearestVectors(vectors, np.arange(count), np.arange(count + 200))
        sorting = search.compared
        rows, _ = search.search(queries, COUNT)
        per_query[count] = (search.compared - sorting) / len(queries)
        assert (rows == of[:, None]).any(axis=1).mean() > 0.95
        assert sorting <= count * 16 * 4 * 4  # branches, rounds of each level, levels
        assert NearestVectors(vectors, np.arange(count), np.arange(count + 200), all_pairs=True).compared == 0
    assert per_query[64_000] < 2.5 * per_query[4_000]  # log n: 1.3; all: 16
    assert per_query[64_000] < 64_000 / 20


def test_a_query_is_compared_with_as_many_references_whatever_the_size_of_cells(monkeypatch):
    """Cell by cell until there were enough: no more than one cell beyond that."""
    monkeypatch.setattr(nearest, "EXHAUSTIVE", 100)
    monkeypatch.setattr(nearest, "_COMPARED", 500)
    dense = drawn(4_000, 16) * 0.05 + drawn(1, 16)  # two thirds of all lie in one direction
    vectors = np.concatenate([dense / np.linalg.norm(dense, axis=1, keepdims=True), drawn(2_000, 16)]).astype(
        np.float32
    )
    search = NearestVectors(vectors, np.arange(len(vectors)), np.arange(len(vectors)))
    largest, centres, before = max(map(len, search._cells)), len(search._start), search.compared
    search.search(np.arange(200), 2)
    assert 500 <= (search.compared - before) / 200 - centres < 500 + largest


def test_equal_vectors_and_groups_are_no_obstacle(monkeypatch):
    monkeypatch.setattr(nearest, "EXHAUSTIVE", 100)
    monkeypatch.setattr(nearest, "LEAF", 16)
    vectors = np.repeat(drawn(3, 8), 200, axis=0)
    rows, similarity = NearestVectors(vectors, np.arange(500), np.arange(600) // 10).search(np.arange(490, 600), 2)
    assert (similarity[:10] > 0.999).all()
    assert not (rows[:10] >= 490).any()  # their own group


def test_kernels_have_their_threads_again_after_a_search():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        rows, _ = NearestVectors(drawn(60, 8), np.arange(50), np.arange(60)).search(np.arange(0), 2)
        assert rows.shape == (0, 2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.proof
def test_of_100_000_vectors_few_copies_are_missed():
    queries = 3000
    alike = np.linspace(0.75, 1, queries, endpoint=False)
    vectors, of = with_copies(drawn(100_000 + queries, 256), queries, alike)
    found = {}
    for all_pairs in (True, False):
        search = NearestVectors(vectors, np.arange(100_000), np.arange(len(vectors)), all_pairs=all_pairs)
        rows = [search.search(part, COUNT)[0] for part in np.split(np.arange(100_000, 100_000 + queries), 3)]
        found[all_pairs] = (np.concatenate(rows) == of[:, None]).any(axis=1)
    print(f"\nof 100,000 references, {search.compared / queries:,.0f} compared with each query")
    for low in np.arange(0.75, 0.99, 0.05):
        within = (alike >= low - 1e-9) & (alike < low + 0.05 - 1e-9) & found[True]
        share = found[False][within].mean()
        print(f"similarity {low:.2f} to {low + 0.05:.2f}: {share:.1%} of those that a comparison with all finds")
        assert share > (0.75 if low < 0.85 else 0.9)
