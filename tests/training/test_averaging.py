"""The average of weights that are validated."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from vesalius.training import EMA


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(model, use_buffers=True, **EMA(decay=decay)._kwargs)


def test_constants_stay_and_weights_are_averaged():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.register_buffer("constant", torch.rand(1000), persistent=False)
    average, expected = averaged(model, 0.9), model.weight.detach().double()
    for step in range(50):
        with torch.no_grad():
            model.weight += torch.randn(2, 3)
        average.update_parameters(model)
        now = model.weight.detach().double()
        expected = now if step == 0 else 0.9 * expected + 0.1 * now  # torch begins with the first weights
    assert torch.equal(average.module.constant, model.constant)
    torch.testing.assert_close(average.module.weight.double(), expected, rtol=1e-5, atol=1e-5)
