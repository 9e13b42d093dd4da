from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from vesalius.config.errors import InputError
from vesalius.models.finetune import Finetune
from vesalius.models.nets.residual import SmallResNet


@pytest.fixture
def net():
    return SmallResNet(1, 3, widths=[4, 6, 8])  # a stem and three stages


def learning(net):
    return [all(p.requires_grad for p in stage.parameters()) for stage in [*net.stages(), net.head]]


@pytest.mark.parametrize(
    ("options", "epoch", "expected"),
    [
        ({}, 0, [True] * 5),
        ({"freeze": 2}, 9, [False, False, True, True, True]),
        ({"freeze": "all"}, 9, [False] * 4 + [True]),
        ({"freeze": "all", "unfreeze_every": 2}, 1, [False] * 4 + [True]),
        ({"freeze": "all", "unfreeze_every": 2}, 2, [False] * 3 + [True] * 2),
        ({"freeze": "all", "unfreeze_every": 2}, 5, [False] * 2 + [True] * 3),
        ({"freeze": 3, "unfreeze_every": 1}, 50, [True] * 5),
    ],
)
def test_what_learns_is_a_function_of_the_epoch(net, options, epoch, expected):
    finetune = Finetune(**options)
    finetune.check(net)
    for visited in (epoch, 0, epoch):  # whatever was applied before
        finetune.apply(net, visited)
    assert learning(net) == expected
    assert [stage.training for stage in net.stages()] == expected[:-1]


def test_a_frozen_stage_changes_nothing_not_even_its_statistics(net):
    finetune = Finetune(freeze=2)
    finetune.apply(net.train(), 0)
    optimizer = finetune.optimizer(partial(AdamW, lr=0.1, weight_decay=0.5), net)
    before = [{name: value.clone() for name, value in stage.state_dict().items()} for stage in net.stages()]
    for _ in range(3):
        net(torch.rand(4, 1, 16, 16)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    same = [
        all(torch.equal(value, old[name]) for name, value in stage.state_dict().items())
        for stage, old in zip(net.stages(), before, strict=True)
    ]
    assert same == [True, True, False, False]


def test_frozen_stages_stay_in_evaluation_mode_when_the_net_is_evaluated(net):
    Finetune(freeze=1).apply(net.eval(), 0)
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("exempt", [False, True])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_groups_hold_every_parameter_once(net, decay, exempt):
    groups = Finetune(lr_decay=decay, exempt_biases_and_norms=exempt).param_groups(net)
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in net.parameters()}
    assert len(groups) == (1 if decay == 1.0 else 5) * (2 if exempt else 1)


def test_rates_fall_from_head_to_stem(net):
    optimizer = Finetune(lr_decay=0.5).optimizer(partial(SGD, lr=0.8), net)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    seen = [{rate[id(p)] for p in stage.parameters()} for stage in [*net.stages(), net.head]]
    assert seen == [{0.05}, {0.1}, {0.2}, {0.4}, {0.8}]
    assert optimizer.param_groups[0]["lr"] == 0.8  # the head's comes first: what is logged as lr


def test_biases_and_norms_can_go_without_weight_decay(net):
    optimizer = Finetune(exempt_biases_and_norms=True).optimizer(partial(AdamW, lr=0.1, weight_decay=0.3), net)
    for group in optimizer.param_groups:
        assert group["weight_decay"] == (0.3 if group["params"][0].ndim > 1 else 0.0)
        assert len({parameter.ndim > 1 for parameter in group["params"]}) == 1


@pytest.mark.parametrize("options", [{"freeze": -1}, {"unfreeze_every": 0}, {"lr_decay": 0.0}])
def test_nonsense_is_refused(options):
    with pytest.raises(InputError, match=rf"model\.finetune\.{next(iter(options))}"):
        Finetune(**options)


def test_a_net_that_cannot_be_treated_so_is_refused(net):
    with pytest.raises(InputError, match="4 stages"):
        Finetune(freeze=5).check(net)
    with pytest.raises(InputError, match="Linear"):
        Finetune(lr_decay=0.5).check(nn.Linear(2, 2))
    Finetune().check(nn.Linear(2, 2))
    Finetune().apply(nn.Linear(2, 2), 0)
