import torch
from sklearn import metrics as oracle

from vesalius.models.epoch_metrics.regression import RegressionMetrics


def make_values(samples=50):
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(samples, 2, generator=generator) * torch.tensor([3.0, 0.1]) + torch.tensor([1000.0, -2.0])
    return target + 0.2 * torch.randn(samples, 2, generator=generator), target


def make_errors(make_facts):
    return RegressionMetrics(make_facts("regression", classes=2, target_mean=(999.0, -2.0), target_std=(2.0, 0.1)))


def test_values_are_scikit_learns_over_all_batches_and_start_anew_each_epoch(make_facts):
    errors, (values, target) = make_errors(make_facts), make_values()
    expected = {
        "mae": oracle.mean_absolute_error(target, values),
        "rmse": oracle.root_mean_squared_error(target, values),
        "r2": oracle.r2_score(target, values),
    }
    for _ in range(2):
        for part in torch.arange(50).split(8):
            errors.update(values[part], target[part])
        for name, value in errors.compute().items():
            torch.testing.assert_close(float(value), float(expected[name]), rtol=1e-4, atol=0)


def test_r2_of_what_does_not_vary_is_none(make_facts):
    errors, (values, target) = make_errors(make_facts), make_values()
    target[:, 1] = -2.0
    errors.update(values, target)
    computed = errors.compute()
    assert computed["r2"].isnan()
    assert computed["mae"].isfinite()


def test_nothing_of_it_is_written_into_checkpoints(make_facts):
    assert not make_errors(make_facts).state_dict()
