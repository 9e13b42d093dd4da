"""The average of weights that are validated."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vesalius.training.averaging import Average


class Operations(TorchDispatchMode):
    """Names of all operations within."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_constants_stay_and_weights_are_averaged():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.register_buffer("constant", torch.rand(1000), persistent=False)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model.register_buffer("count", torch.tensor(0))
    average, expected = Average(model, 0.9), model.weight.detach().double()
    for step in range(50):
        with torch.no_grad():
            model.weight += torch.randn(2, 3)
            model.count += 1
        average.update_parameters(model)
        now = model.weight.detach().double()
        expected = now if step == 0 else 0.9 * expected + 0.1 * now  # torch begins with the first weights
    for name in ("constant", "mask", "count"):
        assert torch.equal(getattr(average.module, name), getattr(model, name))
    torch.testing.assert_close(average.module.weight.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_restored_average_goes_on():
    torch.manual_seed(0)
    model, restored = nn.Linear(3, 2), nn.Linear(3, 2)
    average, again = Average(model, 0.9), Average(restored, 0.9)
    average.update_parameters(model)
    again.load_state_dict(average.state_dict())
    with torch.no_grad():
        model.weight += 1
    for one in (average, again):
        one.update_parameters(model)
    assert torch.equal(average.module.weight, again.module.weight)
    assert not torch.equal(average.module.weight, model.weight)


def test_an_update_is_a_few_operations_and_reads_nothing_back():
    """However many weights there are; a GPU would wait at each number that is read."""
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(20)))
    average = Average(model, 0.9)
    average.update_parameters(model)
    with Operations() as counted:
        average.update_parameters(model)
    assert "aten._local_scalar_dense.default" not in counted.names
    changed = [name for name in counted.names if not name.startswith("aten.detach")]
    assert len(changed) <= 4
