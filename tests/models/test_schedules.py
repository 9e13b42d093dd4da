import io
import math
from functools import partial

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from vesalius.config.errors import InputError
from vesalius.models.schedules import Constant, Cosine, MultiStep, OneCycle, build_schedule

ALL = [Constant(warmup_steps=3), Cosine(warmup_steps=3), MultiStep([2, 3]), OneCycle()]


def make_optimizer(*rates):
    return SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def rates(make, steps=40, lr=0.5):
    optimizer = make_optimizer(lr)
    scheduler = make(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def ours(schedule, steps=40, per_epoch=10, lr=0.5):
    return rates(lambda optimizer: schedule(optimizer, total_steps=steps, steps_per_epoch=per_epoch), steps, lr)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.55])
def test_one_cycle_is_torchs(fraction):
    torchs = partial(lr_scheduler.OneCycleLR, max_lr=0.5, total_steps=40, pct_start=fraction, cycle_momentum=False)
    assert ours(OneCycle(warmup_fraction=fraction)) == pytest.approx(rates(torchs))


def test_cosine_is_torchs():
    assert ours(Cosine(end_factor=0.1)) == pytest.approx(
        rates(partial(lr_scheduler.CosineAnnealingLR, T_max=40, eta_min=0.05))
    )


def test_multistep_is_torchs_counted_in_epochs():
    torchs = partial(lr_scheduler.MultiStepLR, milestones=[20, 30], gamma=0.2)
    assert ours(MultiStep([2, 3], gamma=0.2)) == pytest.approx(rates(torchs))


def test_constant_is_constant():
    assert ours(Constant()) == [0.5] * 40


@pytest.mark.parametrize("schedule", [Constant(4), Cosine(4)])
def test_warm_up_climbs_evenly_to_the_peak(schedule):
    assert ours(schedule)[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("schedule", ALL)
def test_groups_keep_their_proportion(schedule):
    optimizer = make_optimizer(0.4, 0.1)
    scheduler = schedule(optimizer, total_steps=20, steps_per_epoch=5)
    for _ in range(20):
        high, low = (group["lr"] for group in optimizer.param_groups)
        assert high == pytest.approx(4 * low)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("schedule", ALL)
def test_state_is_plain_and_continues(schedule):
    expected = ours(schedule)
    first = make_optimizer(0.5)
    scheduler = schedule(first, total_steps=40, steps_per_epoch=10)
    for _ in range(17):
        first.step()
        scheduler.step()
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second = make_optimizer(0.5)
    resumed = schedule(second, total_steps=40, steps_per_epoch=10)
    second.load_state_dict(state["optimizer"])
    resumed.load_state_dict(state["scheduler"])
    for step in range(17, 40):
        assert second.param_groups[0]["lr"] == pytest.approx(expected[step])
        second.step()
        resumed.step()


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize("steps", [6, 7, 40])
def test_rates_are_never_negative_nor_above_the_peak_also_past_the_end(schedule, steps):
    seen = rates(lambda optimizer: schedule(optimizer, total_steps=steps, steps_per_epoch=2), steps + 10)
    assert all(0 <= rate <= 0.5 + 1e-12 for rate in seen)
    assert all(rate == seen[-1] for rate in seen[steps:])


def test_one_cycle_of_a_single_step_works():
    assert ours(OneCycle(), steps=1) == [0.5]


def test_torchs_own_can_be_used_as_partials():
    partials = [partial(lr_scheduler.CosineAnnealingLR, T_max=40), partial(lr_scheduler.OneCycleLR, max_lr=0.5)]
    for make in partials:
        seen = rates(lambda optimizer, make=make: build_schedule(make, optimizer, total_steps=40, steps_per_epoch=10))
        assert seen[-1] < 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1),
        lambda: Cosine(end_factor=2.0),
        lambda: MultiStep([0]),
        lambda: MultiStep([1], gamma=0.0),
        lambda: OneCycle(warmup_fraction=1.5),
        lambda: Cosine(50)(make_optimizer(0.1), total_steps=40, steps_per_epoch=10),
        lambda: OneCycle()(make_optimizer(0.1), total_steps=math.inf, steps_per_epoch=10),
        lambda: MultiStep([1])(make_optimizer(0.1), total_steps=40, steps_per_epoch=math.inf),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(InputError, match=r"model\.schedule"):
        make()
