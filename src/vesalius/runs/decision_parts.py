"""A careful reader of the parts of `metrics.json` on decisions; runs of older versions have none of them."""

from collections.abc import Mapping
from typing import Any

from vesalius.runs.shapes import check_number, entries_of, list_of, mapping_of

_CALIBRATION = {"ece", "brier"}
_RATES = {"sensitivity", "specificity"}
_NUMBERS = {
    "calibration": ["temperature"],
    "operating_point": ["threshold", "prevalence"],
    "conformal": ["coverage"],
    "abstain": ["share", "confidence"],
}
_TEST = {
    "calibration": _CALIBRATION,
    "operating_point": _RATES | {"ppv", "npv"},
    "conformal": {"coverage", "set_size"},
    "prior_shift": _CALIBRATION,
    "abstain": {"coverage", "accuracy"},
}


def decision_parts(results: Mapping[str, Any]) -> dict[str, Any]:
    """The parts on decisions that the content of `metrics.json` has, in the shape that a run writes.

    Raises:
        ValueError: for a part of another shape.
    """
    parts: dict[str, Any] = {}
    for name, wanted in _TEST.items():
        if results.get(name):
            parts[name] = _scored(results[name], name, wanted)
    if point := parts.get("operating_point"):
        point["val"] = _entries(point.get("val"), "operating_point.val", _RATES)
        if "difference" in point:
            point["difference"] = _entries(point["difference"], "operating_point.difference", _RATES)
    if shift := parts.get("prior_shift"):
        shift["priors"] = entries_of(shift.get("priors"), 1, "prior_shift.priors")
    if results.get("decision_curve"):
        curves = mapping_of(results["decision_curve"], "decision_curve")
        parts["decision_curve"] = {str(name): _decision_curve(curve) for name, curve in curves.items()}
    if results.get("abstention"):
        parts["abstention"] = _abstention(results["abstention"])
    return parts


def _scored(node: Any, name: str, wanted: set[str]) -> dict[str, Any]:
    part = mapping_of(node, name)
    for key in _NUMBERS.get(name, []):
        check_number(part.get(key), f"{name}.{key}")
    if name == "conformal" and not (isinstance(part.get("coverage"), float) and isinstance(part.get("by_class"), bool)):
        raise ValueError("conformal has no coverage")
    if name == "operating_point":
        _check_share(part.get("prevalence"), "operating_point.prevalence")
        part |= {key: str(part.get(key)) for key in ("class", "rule")}
    if "priors" in part and name == "calibration":
        for share in list_of(part["priors"], "calibration.priors"):
            _check_share(share, "calibration.priors")
    if "test" not in part:  # an ensemble that no patient tests as a whole
        return part
    return {**part, "test": _entries(part["test"], f"{name}.test", wanted)}


def _check_share(value: Any, name: str) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is not a share")


def _entries(node: Any, name: str, wanted: set[str]) -> dict[str, Any]:
    entries = entries_of(node, 1, name)
    if not entries.keys() >= wanted:
        raise ValueError(f"{name} has no {', '.join(sorted(wanted - entries.keys()))}")
    return entries


def _decision_curve(node: Any) -> dict[str, Any]:
    curve = mapping_of(node, "decision_curve")
    at = _numbers(curve.get("thresholds"), "decision_curve.thresholds")
    for name in ("model", "treat_all"):
        curve[name] = _with_ends(curve.get(name), f"decision_curve.{name}", len(at))
    return {**curve, "thresholds": at, "useful": _numbers(curve.get("useful"), "decision_curve.useful")}


def _abstention(node: Any) -> dict[str, Any]:
    curve = mapping_of(node, "abstention")
    kept = _numbers(curve.get("kept"), "abstention.kept")
    return {**curve, "kept": kept, "accuracy": _with_ends(curve.get("accuracy"), "abstention.accuracy", len(kept))}


def _with_ends(node: Any, name: str, length: int) -> dict[str, list[float]]:
    curve = mapping_of(node, name)
    ends = {end: _numbers(curve.get(end), f"{name}.{end}") for end in ("value", "low", "high")}
    if not length or {len(values) for values in ends.values()} != {length}:
        raise ValueError(f"{name} is not a curve")
    return ends


def _numbers(node: Any, name: str) -> list[float]:
    values = list_of(node, name)
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{name} has something other than numbers")
    return values
