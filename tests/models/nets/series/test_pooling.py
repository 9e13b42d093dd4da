import torch

from vesalius.models.nets.series.pooling import TemporalPooling

STATES = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([5, 1, 3])
MASK = torch.arange(5) < LENGTHS[:, None]


def test_last_is_the_state_at_the_last_real_frame():
    pooled = TemporalPooling("last", 4, bidirectional=False)(STATES, MASK)
    assert torch.equal(pooled, torch.stack([row[n - 1] for row, n in zip(STATES, LENGTHS, strict=True)]))


def test_last_of_a_backward_pass_is_the_state_at_the_first_frame():
    pooled = TemporalPooling("last", 4, bidirectional=True)(STATES, MASK)
    assert torch.equal(pooled[:, 2:], STATES[:, 0, 2:])
    assert torch.equal(pooled[2, :2], STATES[2, 2, :2])


def test_the_mean_is_over_real_frames():
    pooled = TemporalPooling("mean", 4, bidirectional=False)(STATES, MASK)
    for row, length, mean in zip(STATES, LENGTHS, pooled, strict=True):
        torch.testing.assert_close(mean, row[:length].mean(0))


def test_attention_is_a_softmax_over_real_frames():
    torch.manual_seed(0)
    pool = TemporalPooling("attention", 4, bidirectional=False)
    pooled = pool(STATES, MASK)
    for row, length, mean in zip(STATES, LENGTHS, pooled, strict=True):
        weights = pool.score(row[:length]).softmax(0)
        torch.testing.assert_close(mean, (weights * row[:length]).sum(0))
    torch.nn.init.zeros_(pool.score[2].weight)  # no score: the plain mean
    torch.testing.assert_close(pool(STATES, MASK), TemporalPooling("mean", 4, bidirectional=False)(STATES, MASK))


def test_each_head_weighs_its_own_part_of_the_state():
    torch.manual_seed(0)
    pool = TemporalPooling("attention", 4, heads=2)
    for row, length, mean in zip(STATES, LENGTHS, pool(STATES, MASK), strict=True):
        weights = pool.score(row[:length]).softmax(0)
        expected = torch.cat([(weights[:, [head]] * row[:length, 2 * head : 2 * head + 2]).sum(0) for head in (0, 1)])
        torch.testing.assert_close(mean, expected)
