"""The mean of an epoch is that of its samples, however they came in batches."""

import pytest
import torch

from vesalius.models.epoch_metrics.weighted_mean import WeightedMean


def test_parts_of_any_size_give_the_mean_of_the_whole():
    values, weights = torch.rand(20), torch.arange(1.0, 21.0)
    metric = WeightedMean()
    sizes = [7, 7, 5, 1]
    for value, weight in zip(values.split(sizes), weights.split(sizes), strict=True):
        metric.update((value * weight).sum() / weight.sum(), weight.sum())
    assert float(metric.compute()) == pytest.approx(float((values * weights).sum() / weights.sum()))
    metric.reset()
    metric.update(torch.tensor(2.0), 3)
    assert float(metric.compute()) == 2


def test_no_number_is_hidden():
    metric = WeightedMean()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor(torch.nan), 3)
    assert torch.isnan(metric.compute())
