import itertools
import math

import pytest

from vesalius.models.gan.steps import GANSteps


def counted(batches, accumulate, n_critic, max_epochs, max_steps):
    """Steps of generator and critic, taken one by one."""
    generator = critic = since = 0
    for _ in range(max_epochs):
        window = since = 0
        for batch in range(batches):
            last = batch + 1 == batches
            window += 1
            if window < accumulate and not last:
                continue
            window, since, critic = 0, since + 1, critic + 1
            if since == n_critic or last:
                since, generator = 0, generator + 1
                if generator == max_steps:
                    return generator, critic
    return generator, critic


def test_steps_are_those_of_counting_them_one_by_one():
    for batches, accumulate, n_critic in itertools.product((1, 5, 6, 7), (1, 2, 3), (1, 2, 5)):
        steps = GANSteps(batches, accumulate, n_critic)
        assert steps.per_epoch == counted(batches, accumulate, n_critic, 1, -1)
        for max_epochs, max_steps in ((1, -1), (3, -1), (3, 2), (3, 5), (3, 1000)):
            expected = counted(batches, accumulate, n_critic, max_epochs, max_steps)
            assert steps.in_training(max_epochs, max_steps) == expected, (steps, max_epochs, max_steps)


@pytest.mark.parametrize("unbounded", [None, -1])
def test_what_nothing_bounds_never_ends(unbounded):
    assert GANSteps(7, 1, 3).in_training(unbounded, 4) == counted(7, 1, 3, 9, 4)
    assert GANSteps(7, 1, 3).in_training(unbounded, -1) == (math.inf, math.inf)
    assert GANSteps(math.inf, 1, 3).in_training(1, 4) == (4, 12)
    assert GANSteps(math.inf, 1, 3).in_training(1, -1) == (math.inf, math.inf)
