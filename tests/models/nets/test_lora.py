"""Adapters change nothing at first, are the weights that merging gives, and learn in place of the weights."""

import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError
from vesalius.models.finetune import Finetune
from vesalius.models.nets.efficientnet_lite import EfficientNetLite0
from vesalius.models.nets.lora import add_lora, is_adapter, merge_lora


def make_net() -> nn.Module:
    torch.manual_seed(0)
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), grouped, nn.Flatten(), nn.Linear(8 * 9, 4))


def test_adapters_start_at_nothing_and_merge_into_the_weights() -> None:
    plain, adapted = make_net(), make_net()
    add_lora([adapted, adapted[0]], rank=2)
    image = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(adapted(image), plain(image))
    for name, parameter in adapted.named_parameters():
        if is_adapter(name):
            nn.init.normal_(parameter)
    assert not torch.allclose(adapted(image), plain(image))
    plain.load_state_dict(merge_lora(adapted.state_dict()))
    torch.testing.assert_close(adapted(image), plain(image))


def test_every_adapter_of_a_network_has_a_part_in_its_outputs() -> None:
    net = EfficientNetLite0(3, 2)
    add_lora(net.stages(), rank=1)
    net.eval()(torch.randn(2, 3, 64, 64)).square().sum().backward()
    ups = {name: parameter.grad for name, parameter in net.named_parameters() if name.endswith("lora_up")}
    assert len(ups) == sum(isinstance(part, nn.Conv2d) for part in net.trunk.modules())
    assert [name for name, gradient in ups.items() if gradient is None or not gradient.any()] == []


def test_weights_without_adapters_load_and_leave_them() -> None:
    plain, adapted = make_net(), make_net()
    add_lora([adapted], rank=2)
    nn.init.normal_(adapted[0].lora_up)
    up = adapted[0].lora_up.clone()
    nn.init.normal_(plain[0].weight)
    adapted.load_state_dict(plain.state_dict())
    assert torch.equal(adapted[0].weight, plain[0].weight)
    assert torch.equal(adapted[0].lora_up, up)
    assert merge_lora(plain.state_dict()).keys() == plain.state_dict().keys()


def test_only_adapters_and_head_learn_and_batch_norm_stays() -> None:
    net, finetune = EfficientNetLite0(1, 2), Finetune(lora_rank=2)
    finetune.adapt(net)
    net.train()
    finetune.apply(net, 0)
    learns = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert {name for name in learns if not is_adapter(name)} == {"head.1.weight", "head.1.bias"}
    assert {name.rpartition(".")[0] for name in learns if is_adapter(name)} == {
        name for name, part in net.trunk.named_modules(prefix="trunk") if isinstance(part, nn.Conv2d)
    }
    assert not any(part.training for part in net.trunk.modules() if isinstance(part, nn.BatchNorm2d))
    assert sum(p.numel() for n, p in net.named_parameters() if is_adapter(n)) < 0.1 * sum(
        parameter.numel() for parameter in net.trunk.parameters()
    )


def test_batch_norm_can_stay_while_weights_learn() -> None:
    net = EfficientNetLite0(1, 2).train()
    Finetune(freeze_norm=True, freeze=2).apply(net, 0)
    assert not any(part.training for part in net.modules() if isinstance(part, nn.BatchNorm2d))
    assert not net.trunk._conv_stem.weight.requires_grad
    assert net.trunk._conv_head.weight.requires_grad


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="lora_rank=0"):
        Finetune(lora_rank=0)
    with pytest.raises(InputError, match="stages"):
        Finetune(lora_rank=2).check(nn.Linear(2, 2))
