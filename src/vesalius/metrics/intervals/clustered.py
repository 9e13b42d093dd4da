"""95 % intervals that count patients, not images.

Several images of one patient are not independent. A set of images is therefore worth fewer than its number: the
*design effect* is the variance of the statistic with whole patients drawn, over that with single images drawn (Kish,
Survey Sampling, 1965).

Proportions: Wilson's interval at the effective number of images, images / design effect. AUROC: `auroc.py`. Other
metrics, and differences of any: cluster bootstrap, whose spread is used and not its percentiles, because these follow
the metric's bias and cover too little at 60 patients. Calibration error: `classification/calibration.py`.

Coverage for proportions of .50 to .99 and 60 or 200 patients, with a correlation within patients of 0 to 1 (`pytest -m
proof -s tests/metrics/intervals/test_coverage.py`): without repeats 94 to 97 %; with 4 images each, 2 to 5 of half the
patients, or 1 to 29 each, 93 to 99.6 %, where plain Wilson falls to 74 %; with 30 or 100 of a tenth of the patients and
1 of the others, 92 to 100 %.
"""

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import Interval
from vesalius.metrics.groups import sum_by_group

Floats = NDArray[np.float64]

#: Replicates of the cluster bootstrap: 1,000 give a standard error within 2 % of its limit.
REPLICATES = 1000
MIN_REPLICATES = 200

Z95 = 1.959963984540054


def wilson(proportion: float, n: float) -> tuple[float, float]:
    """Wilson's score interval (JASA 22:209, 1927) of a proportion of `n` samples, which may be a fraction."""
    centre = (proportion + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(proportion * (1 - proportion) / n + Z95**2 / (4 * n * n))
    return float(min(max(centre - half, 0.0), proportion)), float(max(min(centre + half, 1.0), proportion))


def t_quantile(degrees: float, differences: int = 1) -> float:
    """Half the width of a 95 % t interval in standard errors; degrees of freedom below 1 count as 1.

    Args:
        degrees: of freedom.
        differences: how many intervals hold together in 95 % of studies, by Sidak's inequality (JASA 62:626, 1967),
            whatever the correlation between them.
    """
    from scipy.special import stdtrit

    return float(stdtrit(max(degrees, 1.0), (1 + 0.95 ** (1 / differences)) / 2))


def proportion_interval(success: NDArray[np.bool_], member: NDArray[np.bool_], groups: NDArray[np.int64]) -> Interval:
    """Cluster-adjusted Wilson interval of a mean of K proportions.

    With one proportion and one sample per patient it *is* Wilson's interval, and it is never narrower. Where patients
    have several, the design effect is estimated from them, and Student's t takes the place of the normal quantile, with
    the degrees of freedom of equally large patients (Korn & Graubard, Survey Methodology 24:193, 1998). The effective n
    of a mean of proportions is that of their harmonic mean, or less where patients with samples in several of them
    correlate these.

    Args:
        success: (N, K) what is counted, such as "predicted correctly".
        member: (N, K) of which samples, such as "has the class"; at least one per column.
        groups: (N,) number of the sample's patient.
    """
    group_count = int(groups.max()) + 1
    hits, sizes = sum_by_group(success & member, groups, group_count), sum_by_group(member, groups, group_count)
    n = sizes.sum(axis=0)
    proportions = hits.sum(axis=0) / n
    effective = [n[k] / _design_effect(hits[:, k], sizes[:, k]) * _normal_share(sizes[:, k]) for k in range(len(n))]
    n_effective = len(n) ** 2 / sum(1 / e for e in effective)
    mean = float(proportions.mean())
    if len(n) > 1 and 0 < mean < 1:
        present = (sizes.sum(axis=1) > 0).sum()
        influence = ((hits - proportions * sizes) / n).mean(axis=1)
        variance = present / max(present - 1, 1) * (influence**2).sum()
        n_effective = min(n_effective, mean * (1 - mean) / variance) if variance > 0 else n_effective
    repeated = bool((sizes > 1).any()) or len(n) > 1
    return Interval(*wilson(mean, n_effective), "cluster-adjusted Wilson" if repeated else "Wilson")


def _normal_share(sizes: Floats) -> float:
    """Square of the normal quantile over Student's, for patients with these numbers of samples; 1 for one of each."""
    if (sizes <= 1).all() or (sizes > 0).sum() < 2:
        return 1.0
    return (Z95 / t_quantile(float(sizes.sum() ** 2 / (sizes**2).sum()) - 1)) ** 2


def _design_effect(hits: Floats, sizes: Floats) -> float:
    """Design effect of a proportion, at least 1.

    The usual estimate is the variance of the patients' residuals, here that of the jackknife: each residual is divided
    by the share of the samples that are of other patients (CR3: Bell and McCaffrey, Survey Methodology 28:169, 2002),
    since a patient with many draws the proportion towards itself.

    Where few patients have the rarer outcome, that is unreliable (with all outcomes equal: undefined), and an interval
    that trusts it covers 89 % at a proportion of .95 of 60 patients. So the correlation within patients is shrunk
    towards 1, with the weight of up to one patient that has the rarer outcome: the square of the part of the variance
    that would be missing if the samples of patients who are wholly alike were taken for independent, .56 for 4 samples
    each and .91 for 20. The effect fades as such patients become more, and without repeats it changes nothing.
    Patients count here by the square of their number of samples, as in the variance: of those with a single one, among
    others with 30, even many tell nothing of the correlation.
    """
    hits, sizes = hits[sizes > 0], sizes[sizes > 0]
    n, count = sizes.sum(), len(sizes)
    worst = float((sizes**2).sum() / n)
    if worst == 1 or n == 1:
        return 1.0
    p = hits.sum() / n
    worth = sizes**2 / ((sizes**3).sum() / n)  # 1 for patients of equal size
    informative = float(min(worth[hits > 0].sum(), worth[hits < sizes].sum()))  # patients with the rarer outcome
    if count < 2 or informative == 0:
        return worst
    residuals = (hits - p * sizes) / (1 - sizes / n)
    estimate = float((1 - 1 / count) * (1 - 1 / n) * (residuals**2).sum() / n / (p * (1 - p)))
    correlation = np.clip((estimate - 1) / (worst - 1), 0, 1)
    doubt = (1 - 1 / worst) ** 2
    shrunk = (informative * correlation + doubt) / (informative + doubt)
    return float(max(estimate, 1 + shrunk * (worst - 1)))


def logit_interval(value: float, error: float, degrees: float) -> tuple[float, float]:
    """Interval symmetric on the logit scale, so that it stays within 0..1; `value` strictly between them."""
    centre = np.log(value / (1 - value))
    half = t_quantile(degrees) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(np.clip(-(centre + np.array([-half, half])), -700, 700)))
    return float(low), float(high)


def bootstrap_weights(group_count: int, scores: int, seed: int) -> Floats:
    """(R, G) how often each patient is drawn in each of R resamples of G patients.

    R is 1,000, and less for sets of more than 20,000 scores (samples x classes), whose ranking would take minutes: at
    least 200, which still give a standard error within 5 %. Equal seeds give equal draws, so that two models on one
    set can be compared draw by draw.
    """
    replicates = int(np.clip(20_000_000 // max(scores, 1), MIN_REPLICATES, REPLICATES))
    generator = np.random.default_rng(seed)
    weights = np.empty((replicates, group_count))
    for row in weights:
        row[:] = np.bincount(generator.integers(group_count, size=group_count), minlength=group_count)
    return weights


def bootstrap_interval(
    value: float, replicates: Floats, degrees: float, *, upper: float = 1.0, logit: bool = True
) -> Interval:
    """Interval from the spread of bootstrap replicates about the value.

    Args:
        value: the metric, in 0..`upper`.
        replicates: (R,) the metric in each resample; NaN where it was undefined.
        degrees: degrees of freedom of that spread: number of patients behind it, less 1.
        upper: the metric's largest value.
        logit: symmetric on the logit scale, as suits scores that approach 1; else on the plain scale, clipped to the
            metric's bounds.
    """
    share = min(max(value / upper, 0.0), 1.0)
    error = bootstrap_error(replicates, degrees) / upper
    if error == 0 and share in (0.0, 1.0):
        # All resamples agree because there was no error at all: as a proportion of 1.
        low, high = wilson(share, degrees + 1)
    elif error == 0:
        low, high = share, share
    elif logit and 0 < share < 1:
        low, high = logit_interval(share, error, degrees)
    else:
        half = t_quantile(degrees) * error
        low, high = max(0.0, share - half), min(1.0, share + half)
    return Interval(float(low * upper), float(high * upper), "cluster bootstrap")


def bootstrap_error(replicates: Floats, degrees: float) -> float:
    """Standard error: spread of the replicates, widened by G/(G-1) as a resample's variance lacks one patient."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 2:
        return 0.0
    error = float(known.std(ddof=1) * np.sqrt((degrees + 1) / max(degrees, 1.0)))
    return 0.0 if error < 1e-12 else error
