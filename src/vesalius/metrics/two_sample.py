"""How well a classifier tells made images from real ones (Lopez-Paz and Oquab 2017, Classifier Two-Sample Tests)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.auroc import auroc_interval

Floats = NDArray[np.float64]

_FEWEST = 8


def two_sample_test(real: Floats, groups: NDArray[Any], made: Floats, *, seed: int = 0) -> MetricEntry:
    """AUROC of a logistic regression, made or real; .5 where nothing tells them apart.

    It learns from half of the patients and half of the made images, and is judged on the others, each made image being
    a patient of its own. With one half alone the interval is valid; scores pooled from the folds of a
    cross-validation, whose classifiers share samples, vary more than any formula for independent ones says.

    Args:
        real: (N, F) features of real images.
        groups: (N,) their patients.
        made: (M, F) features of made images.
        seed: of the halves.

    Returns:
        An entry of `metrics.json`, whose counts are those of the half that is judged; null with a reason where there
        are too few, or where features are no numbers.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    patients, of_real = np.unique(groups, return_inverse=True)
    reason = None
    if min(len(patients), len(made)) < _FEWEST:
        reason = f"{len(patients)} patients and {len(made)} made images are too few: {_FEWEST} of each are needed"
    elif not (np.isfinite(real).all() and np.isfinite(made).all()):
        reason = "some features are no numbers"
    if reason:
        return missing_entry(reason, n=len(real), groups=len(patients), no_skill=0.5) | {"synthetic": len(made)}
    generator = np.random.default_rng(seed)
    learned_real = (generator.permutation(len(patients)) % 2 == 0)[of_real]
    learned = np.concatenate([learned_real, generator.permutation(len(made)) % 2 == 0])
    owners = np.concatenate([of_real, len(patients) + np.arange(len(made))])
    truth = np.concatenate([np.zeros(len(real), np.int64), np.ones(len(made), np.int64)])
    features = np.concatenate([real, made])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    with threadpool_limits(1):
        scores = classifier.fit(features[learned], truth[learned]).decision_function(features[~learned])
    asked = truth[~learned]
    interval = auroc_interval(asked[:, None] == 1, scores[:, None], np.unique(owners[~learned], return_inverse=True)[1])
    interval = interval._replace(method=f"logistic regression on the other half, {interval.method}")
    n, count = int((asked == 0).sum()), len(np.unique(of_real[~learned_real]))
    entry = metric_entry(roc_auc_score(asked, scores), interval, n=n, groups=count, no_skill=0.5)
    return entry | {"synthetic": int(asked.sum())}
