import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError
from vesalius.models.nets.residual import GridPool, ResidualBlock, SmallResNet


@pytest.mark.parametrize("size", [28, 31, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_small_image_becomes_logits(size, channels):
    net = SmallResNet(channels, 4).eval()
    image = torch.rand(2, channels, size, size)
    assert net.features(image).shape == (2, net.feature_dim)
    torch.testing.assert_close(net(image), net.head(net.features(image)))


def test_it_is_small():
    assert 100_000 < sum(parameter.numel() for parameter in SmallResNet(1, 4).parameters()) < 1_000_000


def test_a_fresh_block_is_its_shortcut():
    block = ResidualBlock(8, 8, stride=1).eval()
    image = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(block(image), image.relu())


def test_stages_and_head_hold_each_parameter_once():
    net = SmallResNet(1, 4, widths=[8, 12], blocks=2)
    parts = [*net.stages(), net.head]
    counted = [id(parameter) for part in parts for parameter in part.parameters()]
    assert len(counted) == len(set(counted))
    assert set(counted) == {id(parameter) for parameter in net.parameters()}


def test_a_stem_of_stride_one_keeps_the_resolution():
    shapes = []
    for stride in (1, 2):
        net = SmallResNet(1, 2, widths=[4], stem_stride=stride)
        net.pool = nn.Identity()
        shapes.append(net.features(torch.rand(1, 1, 28, 28)).shape[1])
    assert shapes == [4 * 28 * 28, 4 * 14 * 14]


@pytest.mark.parametrize("options", [{"widths": []}, {"widths": [0]}, {"blocks": 0}, {"stem_stride": 3}])
def test_nonsense_is_refused(options):
    with pytest.raises(InputError, match=r"model\.net"):
        SmallResNet(1, 2, **options)


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 4), (7, 5, 4), (3, 9, 4), (6, 6, 1)])
def test_averages_of_slices_are_those_of_adaptive_pooling(height, width, side):
    maps = torch.randn(2, 3, height, width, dtype=torch.float64)
    assert torch.allclose(GridPool(side).in_order(maps), nn.AdaptiveAvgPool2d(side)(maps), atol=1e-14, rtol=0)
