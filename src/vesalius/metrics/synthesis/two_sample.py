"""How well a classifier separates synthetic images from real ones (Lopez-Paz and Oquab, arXiv:1610.06545, 2017)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.auroc import auroc_interval

Floats = NDArray[np.float64]

_FEWEST = 8


def two_sample_test(real: Floats, groups: NDArray[Any], synthetic: Floats, *, seed: int = 0) -> MetricEntry:
    """AUROC of a logistic regression, synthetic or real; .5 where it cannot tell them apart.

    It learns from half of the patients and half of the synthetic images, and is scored on the others; each synthetic
    image counts as a patient. With only one half the interval is valid; scores pooled from the folds of a
    cross-validation, whose classifiers share samples, vary more than any formula for independent ones gives.

    Args:
        real: (N, F) features of real images.
        groups: (N,) their patients.
        synthetic: (M, F) features of synthetic images.
        seed: of the halves.

    Returns:
        An entry of `metrics.json`, whose counts are those of the half that is scored; without value where there are
        too few, or where features are not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    patients, of_real = np.unique(groups, return_inverse=True)
    reason = None
    if min(len(patients), len(synthetic)) < _FEWEST:
        counts = f"{len(patients)} patients and {len(synthetic)} synthetic images"
        reason = f"{counts} are too few: {_FEWEST} of each are needed"
    elif not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        reason = "some features are not finite"
    if reason:
        return missing_entry(reason, n=len(real), groups=len(patients), no_skill=0.5) | {"synthetic": len(synthetic)}
    generator = np.random.default_rng(seed)
    learned_real = (generator.permutation(len(patients)) % 2 == 0)[of_real]
    learned = np.concatenate([learned_real, generator.permutation(len(synthetic)) % 2 == 0])
    owners = np.concatenate([of_real, len(patients) + np.arange(len(synthetic))])
    truth = np.concatenate([np.zeros(len(real), np.int64), np.ones(len(synthetic), np.int64)])
    features = np.concatenate([real, synthetic])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    with threadpool_limits(1):
        scores = classifier.fit(features[learned], truth[learned]).decision_function(features[~learned])
    truth, owners = truth[~learned], owners[~learned]
    interval = auroc_interval(truth[:, None] == 1, scores[:, None], np.unique(owners, return_inverse=True)[1])
    interval = interval._replace(method=f"logistic regression on the other half, {interval.method}")
    n, count = int((truth == 0).sum()), len(np.unique(of_real[~learned_real]))
    entry = metric_entry(roc_auc_score(truth, scores), interval, n=n, groups=count, no_skill=0.5)
    return entry | {"synthetic": int(truth.sum())}
