"""Compares new data with those that a model was validated on, at a controlled rate of false alarms.

Each statistic is tested by itself, and each p value multiplied by the number of tests (Bonferroni): where nothing has
changed, one study in a hundred gives an alarm, or fewer. `pytest -m proof -s tests/proofs/test_shift.py` counts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.formatting import format_number
from vesalius.metrics.groups import number_groups, sum_by_group
from vesalius.metrics.shift.statistics import Observations, quantiles
from vesalius.metrics.shift.two_sample import distribution_p_value, means_p_value, shares_p_value

Floats = NDArray[np.float64]

#: Rate of false alarms, of all tests together.
ALPHA = 0.01
#: Fewest patients, or what counts as so many, that are compared.
FEWEST = 10
_DAMAGED = "metrics.json: reference is not what a run writes: train the run again."


@dataclass(frozen=True)
class Finding:
    """One test.

    Attributes:
        name: of the statistic: `intensity/mean`, `probability/cyst`, `predicted`, `calibration/cyst`, `distance`, ...
        p_value: that of the test times the number of tests, at most 1.
        reference: median, share or mean on validation.
        new: the same of the new data.
        label: the class that a share is of.
    """

    name: str
    p_value: float
    reference: float
    new: float
    label: str = ""

    @property
    def shifted(self) -> bool:
        """Whether the two differ by more than chance."""
        return self.p_value < ALPHA


@dataclass(frozen=True)
class Shift:
    """The comparison of new data with validation.

    Attributes:
        findings: of all tests, smallest p value first; empty where nothing was compared.
        patients: what the new data are worth.
        reference_patients: number of the validation patients.
    """

    findings: tuple[Finding, ...]
    patients: float
    reference_patients: int

    @property
    def shifted(self) -> list[Finding]:
        """Those that differ by more than chance."""
        return [finding for finding in self.findings if finding.shifted]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        tests = {
            finding.name: {
                "p_value": finding.p_value,
                "reference": finding.reference,
                "new": finding.new,
                **({"class": finding.label} if finding.label else {}),
            }
            for finding in self.findings
        }
        head = {"shifted": bool(self.shifted), "alpha": ALPHA, "patients": self.patients}
        return {**head, "reference_patients": self.reference_patients, "tests": tests}


def reference_of(observed: Observations, classes: Sequence[str]) -> dict[str, Any]:
    """The entry `reference` of `metrics.json`, from what was observed of the validation split.

    Args:
        observed: with the patients.
        classes: names of the classes or continuous targets.
    """
    assert observed.groups is not None
    kept: dict[str, Any] = {"n": len(observed), "patients": len(set(observed.groups))}
    kept["quantiles"] = {name: quantiles(values) for name, values in observed.values.items()}
    if observed.decided is not None:
        kept["predicted"] = dict(zip(classes, observed.decided.mean(axis=0).tolist(), strict=True))
    if observed.gaps is not None and kept["patients"] > 1:
        pairs = zip(classes, _mean_gaps(observed.gaps, observed.groups), strict=True)
        kept["calibration"] = {name: {"gap": gap, "error": error} for name, (gap, error) in pairs}
    return kept


def compare(reference: Mapping[str, Any], observed: Observations, *, single_label: bool) -> Shift:
    """Test new data against validation.

    Args:
        reference: the entry of `metrics.json`.
        observed: of the new data. Where their patients are not known, a patient is taken to have as many samples as a
            validation patient has.
        single_label: whether each sample has one class.

    Returns:
        Without findings where the new data, or validation, have fewer than `FEWEST` patients.

    Raises:
        InputError: for a reference that is not what a run writes.
    """
    try:
        return _compare(reference, observed, single_label=single_label)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise InputError(_DAMAGED) from error


def _compare(reference: Mapping[str, Any], observed: Observations, *, single_label: bool) -> Shift:
    known = int(reference["patients"])
    each = int(reference["n"]) / known
    patients = len(observed) / each if observed.groups is None else float(len(set(observed.groups)))
    sizes = (float(known), patients)
    if min(sizes) < FEWEST:
        return Shift((), patients, known)
    found: list[Finding] = []
    for name, kept in reference["quantiles"].items():
        if name in observed.values:
            first, second = np.array(kept, dtype=np.float64), observed.values[name]
            p_value = distribution_p_value(first, second, sizes)
            found.append(Finding(name, p_value, float(np.median(first)), float(np.median(second))))
    if observed.decided is not None and "predicted" in reference:
        found += _predicted(reference["predicted"], observed.decided, sizes, single_label=single_label)
    if observed.gaps is not None and observed.groups is not None and "calibration" in reference:
        for (label, kept), new in zip(
            reference["calibration"].items(), _mean_gaps(observed.gaps, observed.groups), strict=True
        ):
            old = (float(kept["gap"]), float(kept["error"]))
            found.append(Finding(f"calibration/{label}", means_p_value(old, new), old[0], new[0], label))
    corrected = [
        Finding(one.name, min(1.0, one.p_value * len(found)), one.reference, one.new, one.label) for one in found
    ]
    return Shift(tuple(sorted(corrected, key=lambda one: one.p_value)), patients, known)


def _predicted(
    kept: Mapping[str, float], decided: NDArray[np.bool_], sizes: tuple[float, float], *, single_label: bool
) -> list[Finding]:
    """Shares of the predicted classes: one test for all, or one for each label; named by what differs most."""
    before, now = np.array(list(kept.values()), dtype=np.float64), decided.mean(axis=0)
    if single_label:
        most = int(np.abs(now - before).argmax())
        p_value = shares_p_value(before, now, sizes)
        return [Finding("predicted", p_value, float(before[most]), float(now[most]), list(kept)[most])]
    return [
        Finding(f"predicted/{label}", shares_p_value(np.array([1 - a, a]), np.array([1 - b, b]), sizes), a, b, label)
        for label, a, b in zip(kept, before.tolist(), now.tolist(), strict=True)
    ]


def _mean_gaps(gaps: Floats, groups: NDArray[np.object_]) -> list[tuple[float, float]]:
    """Mean and standard error, over patients, of truth minus probability of each class."""
    numbers = number_groups(groups)
    count = int(numbers.max()) + 1
    means = sum_by_group(gaps, numbers, count) / np.bincount(numbers)[:, None]
    errors = means.std(axis=0, ddof=1) / np.sqrt(count)
    return list(zip(means.mean(axis=0).tolist(), errors.tolist(), strict=True))


_SHOWN = 6
_KINDS = {
    "intensity": "the images themselves",
    "distance": "the features",
    "predicted": "the predictions",
    "probability": "the predictions",
    "confidence": "the predictions",
    "value": "the predictions",
    "calibration": "the calibration",
}


def describe(shift: Shift) -> list[str]:
    """What a reader must know, one sentence or two each; empty where nothing was compared."""
    if not shift.findings:
        return []
    worth = f"worth {shift.patients:.0f} patients, against {shift.reference_patients} of validation"
    if not shift.shifted:
        return [f"No shift found ({worth}; {len(shift.findings)} tests, {ALPHA:.0%} false alarms together)."]
    kinds = list(dict.fromkeys(_KINDS[one.name.partition("/")[0]] for one in shift.shifted))
    words = " and ".join([*filter(None, [", ".join(kinds[:-1])]), kinds[-1]])
    lines = [
        f"Shift in {words}, compared with validation ({worth}). Threshold and calibration were chosen for patients "
        "like those of validation, and may not carry over."
    ]
    lines += [_sentence(one) for one in shift.shifted[:_SHOWN]]
    if len(shift.shifted) > _SHOWN:
        lines.append(f"  and {len(shift.shifted) - _SHOWN} more.")
    if kinds == ["the predictions"] or set(kinds) == {"the predictions", "the calibration"}:
        lines.append(
            "The images look alike and only predictions differ, as where classes are more or less frequent: correct "
            "the probabilities for the new frequencies, or choose the threshold again."
        )
    return lines


def _sentence(one: Finding) -> str:
    kind, _, rest = one.name.partition("/")
    p = "< .001" if one.p_value < 0.001 else f"= {format_number(one.p_value)}"
    numbers = f"{format_number(one.new)}, on validation {format_number(one.reference)}"
    words = {
        "predicted": f"share predicted as {one.label}",
        "calibration": f"mean of truth minus probability of {one.label}",
        "distance": "median distance from the training images",
        "confidence": "median confidence",
        "probability": f"median probability of {rest}",
        "value": f"median {rest}",
        "intensity": f"median {rest} of the images",
    }[kind]
    return f"  {words}: {numbers} (p {p})."
