import pytest
import torch

from vesalius.models.gan.differentiable_augment import DifferentiableAugment
from vesalius.models.shard import Shard


@pytest.mark.parametrize("whole", [8, 9, 11])
@pytest.mark.parametrize("world", [2, 3])
def test_shards_together_are_what_one_process_draws(whole, world):
    """Real and synthetic images of a step are augmented alike however many devices share them."""
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(whole, 2, 12, 12, generator=generator) * 2 - 1 for _ in range(2))
    change = DifferentiableAugment(0.25, 0.2, 0.2, 0.3, 0.5, 0.1)
    torch.manual_seed(3)
    expected = change(torch.cat([real, fake])).chunk(2)
    states = []
    for rank in range(world):
        torch.manual_seed(3)
        both = torch.cat([real[rank::world], fake[rank::world]])
        changed = change(both, Shard(rank, world, whole)).chunk(2)
        states.append(torch.get_rng_state())
        for one, all_ in zip(changed, expected, strict=True):
            torch.testing.assert_close(one, all_[rank::world])
    assert all(torch.equal(state, states[0]) for state in states)


def test_normal_numbers_lie_in_memory_as_the_samples_do():
    samples = torch.zeros(5, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    expected = torch.randn_like(samples)
    for part in (Shard(), Shard(0, 1, 5)):
        torch.manual_seed(0)
        assert torch.equal(part.randn_like(samples), expected)
    torch.manual_seed(0)
    part = samples[1::2].contiguous(memory_format=torch.channels_last)
    assert torch.equal(Shard(1, 2, 5).randn_like(part), expected[1::2])


def test_weights_of_shards_average_to_the_mean_over_the_whole():
    values, world = torch.rand(11), 3
    parts = [values[rank::world] for rank in range(world)]
    weighted = [part.mean() * Shard(rank, world, 11).loss_weight(len(part)) for rank, part in enumerate(parts)]
    torch.testing.assert_close(torch.stack(weighted).mean(), values.mean())
