"""The end of a run that has features: from which on an image is called unlike the training images."""

import logging
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.errors import VesaliusError
from vesalius.evaluation.base import Metrics, Results
from vesalius.metrics.entry import metric_entry
from vesalius.metrics.groups import number_groups
from vesalius.metrics.intervals.clustered import proportion_interval
from vesalius.metrics.out_of_distribution_fit import RATE, fit_features
from vesalius.models.family import FamilyModule
from vesalius.runs.arrays import write_arrays
from vesalius.runs.run_folder import OOD

logger = logging.getLogger("vesalius")

#: Most samples of a split whose features are computed: a thousand are enough for a covariance.
MOST = 1_000


def fit_out_of_distribution(results: Results) -> Metrics:
    """Write `ood.safetensors` into the run's folder, and count how many of the run's own test samples it flags.

    Real training samples give the Gaussian, validation samples the threshold; of an autoencoder that learned from some
    classes only, samples of these. A run whose features cannot be used goes without: it is finished by then.

    Returns:
        The entry `out_of_distribution` of `metrics.json`; empty without statistics.
    """
    data = results.data
    train = data.spread_rows("train", MOST, real=True)
    normal: Tensor | None = getattr(data, "normal", None)
    val, test = (
        _spread(rows if normal is None else rows[normal[rows]]) for rows in (data.rows("val"), data.rows("test"))
    )
    if len(train) < 2 or not len(val):
        logger.info("No out-of-distribution statistics: there are no real training images.")
        return {}
    try:
        fitted = fit_features(features_of(results, train), features_of(results, val), _patients(results, val))
    except VesaliusError as error:  # a net without features, or with some that are not finite
        logger.info("No out-of-distribution statistics: %s", error)
        return {}
    write_arrays(results.folder / OOD, fitted.to_arrays())
    found: Metrics = {"method": "Mahalanobis distance of features", "rate": RATE}
    if len(test):
        flagged = fitted.score(features_of(results, test)) > 1
        groups = number_groups(_patients(results, test))
        interval = proportion_interval(flagged[:, None], np.ones((len(flagged), 1), dtype=np.bool_), groups)
        size = {"n": len(flagged), "groups": int(groups.max()) + 1}
        found["test"] = {"flagged": metric_entry(flagged.mean(), interval, **size, no_skill=RATE)}
    return {"out_of_distribution": found}


def features_of(results: Results, rows: Tensor) -> NDArray[np.float32]:
    """(N, D) of some rows."""
    model, data = cast(FamilyModule, results.model).to(results.device).eval(), results.data
    assert data.dataset is not None
    parts = []
    with torch.inference_mode():
        for part in torch.split(rows, data.eval_size()):
            batch = {name: tensor.to(results.device) for name, tensor in data.dataset[part].items()}
            parts.append(model.embed(batch).float().cpu().numpy())
    return np.concatenate(parts)


def _spread(rows: Tensor) -> Tensor:
    """At most `MOST` of them, evenly spread."""
    return rows[:: max(1, -(-len(rows) // MOST))]


def _patients(results: Results, rows: Tensor) -> NDArray[np.object_]:
    return np.asarray(results.data.table["group_id"].iloc[rows.tolist()], dtype=object)
