import pytest
import torch
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.regression import RegressionLoss
from vesalius.models.losses.task import build_task_loss

MEAN, STD = (100.0, -1.0), (20.0, 0.5)


@pytest.fixture
def facts(make_facts):
    return make_facts("regression", classes=2, target_mean=MEAN, target_std=STD)


@pytest.mark.parametrize(
    ("kind", "function"), [("auto", F.mse_loss), ("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", F.smooth_l1_loss)]
)
def test_the_loss_is_on_the_standard_scale_of_each_target(facts, kind, function):
    outputs, target = torch.randn(8, 2), torch.randn(8, 2) * 30
    expected = function(outputs, (target - torch.tensor(MEAN)) / torch.tensor(STD))
    torch.testing.assert_close(RegressionLoss(facts, kind=kind)(outputs, target), expected)


def test_values_of_outputs_are_in_real_units(facts):
    loss, target = RegressionLoss(facts), torch.tensor([[120.0, -1.5]])
    torch.testing.assert_close(loss.standardize(target), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(loss.values(loss.standardize(target).bfloat16()), target)
    assert float(loss(loss.standardize(target), target)) == 0
    assert not loss.state_dict()


def test_the_task_chooses_the_loss(facts, make_facts):
    assert isinstance(build_task_loss(facts), RegressionLoss)
    assert isinstance(build_task_loss(make_facts(), kind="focal", gamma=1.0), ClassificationLoss)
    assert build_task_loss(facts, kind="huber").kind == "huber"


def test_options_of_the_other_tasks_are_refused(facts, make_facts):
    with pytest.raises(InputError, match="kind=focal: for task regression, choose one of auto, mse, l1, huber"):
        build_task_loss(facts, kind="focal")
    with pytest.raises(InputError, match="no classes"):
        build_task_loss(facts, label_smoothing=0.1)
    with pytest.raises(InputError, match="kind=mse: for task multiclass, choose one of auto, cross_entropy"):
        build_task_loss(make_facts(), kind="mse")
    with pytest.raises(InputError, match="task multiclass has classes"):
        RegressionLoss(make_facts())
