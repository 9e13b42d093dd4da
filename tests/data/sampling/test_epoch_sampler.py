"""Promises of the order of samples: reproducible, complete, and the same steps on any number of devices."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.config.errors import InputError
from vesalius.data.sampling.epoch_sampler import EpochSampler, balanced_weights, draws_of, epoch_order, rows_of

few = settings(max_examples=150, deadline=None)
sizes, batches, worlds = st.integers(1, 70), st.integers(1, 20), st.integers(1, 5)


def draws(rows: Tensor | int, *args, epoch: int = 0, **kwargs) -> list[Tensor]:
    rows = torch.arange(rows) if isinstance(rows, int) else rows
    sampler = EpochSampler(rows, *args, **{"seed": 0, **kwargs})
    sampler.set_epoch(epoch)
    result = list(sampler)
    assert len(sampler) == len(result)
    return result


def steps(rows: Tensor | int, *args, **kwargs) -> list[Tensor]:
    return [rows_of(batch) for batch in draws(rows, *args, **kwargs)]


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    state = torch.get_rng_state()
    orders = [epoch_order(200, *key) for key in [(0, 0), (0, 1), (1, 0), (0, 0)]]
    assert torch.equal(orders[0], orders[3])
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert torch.equal(torch.get_rng_state(), state)


@few
@given(size=sizes, batch=batches, training=st.booleans())
def test_every_sample_comes_once_in_its_order_when_evaluated(size: int, batch: int, training: bool) -> None:
    order = torch.cat(steps(size, batch, training=training, epoch=3))
    assert torch.equal(order.sort().values if training else order, torch.arange(size))


def test_rows_are_what_is_yielded() -> None:
    rows = torch.tensor([30, 10, 50, 20])
    assert torch.equal(torch.cat(steps(rows, 3)).sort().values, rows.sort().values)
    assert_same(steps(rows, 2, training=False), [rows[:2], rows[2:]])


@few
@given(size=sizes, batch=batches, world=worlds, training=st.booleans())
def test_ranks_together_take_the_step_of_one_process(size: int, batch: int, world: int, training: bool) -> None:
    batch = max(batch, world)
    single = steps(size, batch, training=training, epoch=2)
    ranks = [steps(size, batch, training=training, epoch=2, rank=rank, world_size=world) for rank in range(world)]
    for step, whole in enumerate(single):
        parts = [rank[step] for rank in ranks if step < len(rank)]
        assert all(len(part) > 0 for part in parts)
        if not training or len(whole) >= world * min(2, batch // world):
            # Nothing twice, and the place in the batch is known from the place in the part.
            assert all(torch.equal(part, whole[rank::world]) for rank, part in enumerate(parts))
            assert sum(map(len, parts)) == len(whole)
        if training:
            assert len(parts) == world
            assert set(torch.cat(parts).tolist()) == set(whole.tolist())


@few
@given(size=sizes, batch=batches, world=worlds)
def test_no_device_trains_on_one_sample_unless_asked_to(size: int, batch: int, world: int) -> None:
    batch = max(batch, 2 * world)
    for rank in range(world):
        for part in steps(size, batch, rank=rank, world_size=world):
            assert len(part) >= 2 or (size == 1 and world == 1)


def test_a_lone_last_sample_joins_the_batch_before() -> None:
    assert [len(batch) for batch in steps(13, 4)] == [4, 4, 5]
    assert [len(batch) for batch in steps(13, 4, training=False)] == [4, 4, 4, 1]
    assert [len(batch) for batch in steps(14, 4)] == [4, 4, 4, 2]
    assert [len(batch) for batch in steps(3, 1)] == [1, 1, 1]


@few
@given(size=sizes, batch=batches, count=st.integers(1, 12))
def test_fixed_steps_go_on_where_the_last_epoch_ended(size: int, batch: int, count: int) -> None:
    epochs = [steps(size, batch, steps_per_epoch=count, epoch=epoch) for epoch in range(4)]
    assert all(len(batch_rows) == batch for epoch in epochs for batch_rows in epoch)
    assert [len(epoch) for epoch in epochs] == [count] * 4
    stream = torch.cat([torch.cat(epoch) for epoch in epochs])
    for start in range(0, len(stream) - size + 1, size):
        assert torch.equal(stream[start : start + size].sort().values, torch.arange(size))


def test_fixed_steps_shuffle_every_pass_again() -> None:
    first, second = torch.cat(steps(50, 10, steps_per_epoch=10)).split(50)
    assert not torch.equal(first, second)


def test_an_abandoned_epoch_leaves_no_trace() -> None:
    sampler = EpochSampler(torch.arange(40), 4, seed=0)
    list(islice(sampler, 3))
    assert_same(list(sampler), steps(40, 4))


@few
@given(rows=st.lists(st.integers(0, 2**31), max_size=60))
def test_a_draw_is_a_row_and_how_often_it_came_before(rows: list[int]) -> None:
    drawn = draws_of(torch.tensor(rows, dtype=torch.int64))
    assert rows_of(drawn).tolist() == rows
    assert (drawn >> 32).tolist() == [rows[:place].count(row) for place, row in enumerate(rows)]


@few
@given(size=st.integers(2, 30), world=worlds, balanced=st.booleans())
def test_draws_of_an_epoch_are_the_same_in_any_batches_on_any_devices(size: int, world: int, balanced: bool) -> None:
    weights = balanced_weights((torch.arange(size) < 2).long()) if balanced else None
    options = {"weights": weights, "epoch": 1}
    one = torch.cat(draws(size, 60, steps_per_epoch=1, **options))
    assert len(set(one.tolist())) == 60
    assert torch.equal(one, torch.cat(draws(size, 20, steps_per_epoch=3, **options)))
    ranks = [draws(size, 20, steps_per_epoch=3, rank=rank, world_size=world, **options) for rank in range(world)]
    assert sorted(one.tolist()) == sorted(torch.cat([torch.cat(parts) for parts in ranks]).tolist())


@few
@given(size=sizes, batch=batches, world=worlds)
def test_no_draw_comes_twice_in_an_epoch(size: int, batch: int, world: int) -> None:
    batch = max(batch, world)
    ranks = [draws(size, batch, rank=rank, world_size=world) for rank in range(world)]
    drawn = torch.cat([torch.cat(parts) for parts in ranks]).tolist()
    assert len(set(drawn)) == len(drawn)


def test_balanced_sampling_draws_classes_equally_often() -> None:
    target = torch.tensor([0] * 900 + [1] * 80 + [2] * 20)
    rows = torch.cat(steps(1000, 50, weights=balanced_weights(target), steps_per_epoch=600))
    counts = torch.bincount(target[rows])
    deviation = 4 * math.sqrt(30_000 * (1 / 3) * (2 / 3))
    assert (counts - 10_000).abs().max() < deviation
    # Within a class too: each of the twenty rare ones 500 times, binomially.
    rare = torch.bincount(rows, minlength=1000)[980:]
    assert (rare - 500).abs().max() < 4.5 * math.sqrt(500)


def test_balanced_draws_are_a_function_of_seed_and_epoch() -> None:
    weights = balanced_weights(torch.tensor([0, 0, 0, 1]).repeat(25))
    orders = [epoch_order(100, *key, weights=weights) for key in [(0, 0), (0, 1), (1, 0), (0, 0)]]
    assert torch.equal(orders[0], orders[3])
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert all(len(order) == 100 for order in orders)


def test_a_weight_of_zero_is_never_drawn() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    drawn = torch.bincount(epoch_order(5, 0, 0, weights=weights, length=20_000), minlength=5)
    assert drawn[[0, 2, 4]].sum() == 0
    assert abs(int(drawn[3]) - 15_000) < 4 * math.sqrt(20_000 * 0.75 * 0.25)


def test_several_classes_per_sample_are_drawn_in_two_steps() -> None:
    # Class 0: samples 0 to 3; class 1: sample 3 as well; class 2: nobody; samples 4 and 5 have no class.
    target = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
    expected = torch.tensor([1 / 4, 1 / 4, 1 / 4, 1 / 4 + 1, 1 / 2, 1 / 2], dtype=torch.float64) / 3
    torch.testing.assert_close(balanced_weights(target), expected)
    torch.testing.assert_close(balanced_weights(target.float()), expected)


def test_one_class_per_sample_weighs_the_same_in_both_notations() -> None:
    target = torch.tensor([0, 0, 3, 1, 1, 1])  # class 2 has no sample
    torch.testing.assert_close(balanced_weights(target), balanced_weights(torch.nn.functional.one_hot(target)))


def test_a_loader_takes_whole_batches() -> None:
    class Squares(Dataset[Tensor]):
        def __getitem__(self, index: Tensor) -> Tensor:
            return index**2

    loader = DataLoader(Squares(), batch_size=None, sampler=EpochSampler(torch.arange(10), 4, seed=0))
    assert len(loader) == 3
    assert_same(list(loader), [rows**2 for rows in steps(10, 4)])


def test_a_batch_too_small_for_all_devices_is_refused_with_the_cure() -> None:
    with pytest.raises(InputError, match=r"data\.batch_size=2 leaves some of 4 devices.*set it to 4 or more"):
        EpochSampler(torch.arange(10), 2, seed=0, world_size=4)
