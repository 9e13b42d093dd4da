"""Calibrated probabilities where classes are more or less frequent than they were in validation.

If the images of each class stay what they were, Bayes' rule moves the probabilities with the shares of the classes. The
shares are known, or found from the probabilities of new samples without labels by expectation maximisation (Saerens,
Latinne and Decaestecker, Neural Computation 14:21, 2002), which finds the most likely ones: here together with a prior
worth one patient per class at the old shares (Sulc and Matas, ICCV Workshops 2019), as the most likely share of a class
among a few patients is often 0. Labels of multilabel data are moved one by one.

N samples, K classes, G patients.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.groups import sum_by_group
from vesalius.metrics.intervals.clustered import logit_interval

Floats = NDArray[np.float64]

_STEPS, _CLOSE = 2000, 1e-9


def shift_priors(probabilities: Floats, old: Sequence[float], new: Sequence[float], *, multilabel: bool) -> Floats:
    """Probabilities (N, K) as they are where the classes have other shares.

    Args:
        probabilities: (N, K) calibrated where the classes have the old shares.
        old: K shares of samples that have the class, such as `calibration.priors` of `metrics.json`; a class of which
            there was none, or that all samples had, is not moved.
        new: K shares where the model is applied.
        multilabel: whether each label is a yes or no of its own.
    """
    if not multilabel:
        moved = probabilities * _ratio(np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64))
        total = moved.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, moved / np.where(total > 0, total, 1), probabilities))
    before, after = (np.asarray(shares, dtype=np.float64) for shares in (old, new))
    known = (before > 0) & (before < 1)
    present = probabilities * np.where(known, _ratio(after, before), 1)
    absent = (1 - probabilities) * np.where(known, _ratio(1 - after, 1 - before), 1)
    total = present + absent
    return np.asarray(np.where(total > 0, present / np.where(total > 0, total, 1), probabilities))


def _ratio(new: Floats, old: Floats) -> Floats:
    return np.asarray(np.where(old > 0, new / np.where(old > 0, old, 1), 1.0))


def estimate_priors(
    probabilities: Floats, groups: NDArray[np.int64], old: Sequence[float], *, multilabel: bool
) -> Floats:
    """The most likely shares (K,) of the classes among new samples without labels.

    Args:
        probabilities: (N, K), as in `shift_priors`.
        groups: (N,) number of the sample's patient.
        old: K shares, as in `shift_priors`.
        multilabel: whether each label is a yes or no of its own.
    """
    before = np.asarray(old, dtype=np.float64)
    held = _prior_share(2 if multilabel else len(before), groups)
    shares = before
    for _ in range(_STEPS):
        found = shift_priors(probabilities, old, shares.tolist(), multilabel=multilabel).mean(axis=0)
        following = (1 - held) * found + held * before
        if np.abs(following - shares).max() < _CLOSE:
            return np.asarray(following)
        shares = following
    return shares


def _prior_share(classes: int, groups: NDArray[np.int64]) -> float:
    """Weight of the prior, a patient per class, among all patients and these."""
    count = int(groups.max()) + 1
    return classes / (classes + count)


def prior_entries(
    probabilities: Floats, groups: NDArray[np.int64], old: Sequence[float], classes: Sequence[str], *, multilabel: bool
) -> dict[str, MetricEntry]:
    """The estimated share of each class, with an interval over patients.

    The interval is that of the most likely shares, robust to samples of one patient being alike, on the logit scale; it
    takes the calibration as given. A class without any sample, or with all, has no interval.

    Args:
        probabilities: (N, K), as in `shift_priors`.
        groups: (N,) number of the sample's patient.
        old: K shares in validation: the no-skill values, if nothing had moved.
        classes: K names.
        multilabel: whether each label is a yes or no of its own.
    """
    shares = estimate_priors(probabilities, groups, old, multilabel=multilabel)
    if multilabel:
        pairs = [np.stack([1 - probabilities[:, k], probabilities[:, k]], axis=1) for k in range(len(shares))]
        errors = [_errors(pair, groups, _pair(old[k]), _pair(shares[k]))[1] for k, pair in enumerate(pairs)]
    else:
        errors = _errors(probabilities, groups, np.asarray(old, dtype=np.float64), shares).tolist()
    count = int(groups.max()) + 1
    entries: dict[str, MetricEntry] = {}
    for name, share, error, before in zip(classes, shares.tolist(), errors, old, strict=True):
        if not (0 < share < 1 and np.isfinite(error) and count > 1):
            reason = "the samples do not show how uncertain the share is"
            entries[name] = missing_entry(reason, n=len(groups), groups=count, no_skill=before)
            continue
        interval = Interval(*logit_interval(share, error, count - 1), "maximum likelihood, robust over patients")
        entries[name] = metric_entry(share, interval, n=len(groups), groups=count, no_skill=before)
    return entries


def _pair(share: float) -> Floats:
    return np.array([1 - share, share])


def _errors(probabilities: Floats, groups: NDArray[np.int64], old: Floats, shares: Floats) -> Floats:
    """(K,) standard errors of the most likely shares, which sum to 1: the sandwich of the likelihood's derivatives."""
    moved = (old > 0) & (shares > 0)
    likelihoods = probabilities[:, moved] / old[moved]
    likelihoods = likelihoods / np.maximum(likelihoods @ shares[moved], 1e-300)[:, None]
    errors = np.full(len(shares), np.nan)
    if moved.sum() < 2:
        return errors
    # Derivatives by all shares but the last, which is 1 minus the others.
    scores = likelihoods[:, :-1] - likelihoods[:, -1:]
    count = int(groups.max()) + 1
    held = _prior_share(len(shares), groups)
    of_prior = held / (1 - held) * len(groups) * old[moved] / shares[moved] ** 2
    information = scores.T @ scores + np.diag(of_prior[:-1]) + of_prior[-1]
    sums = sum_by_group(scores, groups, count)
    of_patients = (sums - sums.mean(axis=0)) @ np.linalg.inv(information)
    of_all = np.hstack([of_patients, -of_patients.sum(axis=1, keepdims=True)])
    errors[moved] = np.sqrt(count / max(count - 1, 1) * (of_all**2).sum(axis=0))
    return errors
