"""Depthwise convolutions compute as others do, in 32 bits where a CPU trains in bf16."""

import torch
from torch import nn

from vesalius.models.nets.depthwise import use_depthwise
from vesalius.models.nets.lora import add_lora


def depthwise() -> nn.Conv2d:
    layer = nn.Conv2d(6, 6, 3, groups=6)
    use_depthwise(layer)
    return layer


def in_bf16(layer: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(image)


def test_only_filters_of_single_channels_are_depthwise() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2))
    use_depthwise(net)
    assert [type(layer) is nn.Conv2d for layer in net] == [True, False, True]


def test_a_step_in_bf16_has_the_result_and_the_gradient_of_32_bits_but_for_the_rounding_of_the_result() -> None:
    layer, image = depthwise(), torch.randn(2, 6, 9, 9)
    exact, rounded = layer(image), in_bf16(layer, image)
    assert torch.equal(rounded, exact.bfloat16())
    (expected,) = torch.autograd.grad(exact.sum(), layer.weight)
    assert torch.equal(torch.autograd.grad(rounded.float().sum(), layer.weight)[0], expected)
    with torch.no_grad():
        small = [part.bfloat16() for part in (image, layer.weight, layer.bias)]
        assert torch.equal(in_bf16(layer, image), torch.conv2d(*small, groups=6))


def test_adapters_of_depthwise_filters_are_trained() -> None:
    layer, image = depthwise(), torch.randn(2, 6, 9, 9)
    plain = in_bf16(layer, image)
    add_lora([layer], 2)
    adapted = in_bf16(layer, image)
    assert torch.equal(adapted, plain)
    adapted.float().sum().backward()
    assert layer.lora_up.grad.abs().sum() > 0
