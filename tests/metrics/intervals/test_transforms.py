"""Scales of metrics."""

import numpy as np
import pytest

from vesalius.metrics.intervals.transforms import scale_of


@pytest.mark.parametrize("metric", ["auroc", "mae", "r2", "brier", "psnr"])
def test_a_scale_keeps_the_order_and_has_an_inverse(metric):
    scale, values = scale_of(metric, "multiclass"), np.linspace(0.1, 0.9, 9)
    assert (np.diff(scale.transform(values)) > 0).all()
    assert scale.inverse(scale.transform(values)) == pytest.approx(values)
