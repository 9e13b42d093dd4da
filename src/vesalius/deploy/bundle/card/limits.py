"""What a model card warns of: limits that follow from a run's numbers, and what the run did not test."""

from collections.abc import Iterator, Mapping
from typing import Any

from vesalius.deploy.bundle.manifest import Manifest

#: Patients below which an interval of the test set is wide whatever the model.
FEW_PATIENTS = 100


def limits_of(manifest: Manifest, metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on what the model cannot do."""
    facts, contract = manifest.facts, manifest.contract
    found = []
    if manifest.kind == "classifier":
        found.append(f"It knows only {', '.join(facts.classes)}: anything else in an image gets one of these too.")
    if contract is not None:
        found.append("Images of another device, protocol or population than its training data may be read wrongly.")
    patients = _patients(metrics)
    if patients is not None and patients < FEW_PATIENTS:
        found.append(f"The test set has {patients} patients: its intervals are wide.")
    found += [f"On test, {name} is not shown to be above what no skill gives." for name in _no_better(metrics)]
    few = [name for name, count in zip(facts.classes, facts.class_counts, strict=False) if count < 20]
    if few and manifest.kind == "classifier":
        found.append(f"Fewer than 20 training samples are of {', '.join(few)}.")
    return found


def untested(manifest: Manifest, metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on what was not tested; what `metrics` does not hold was not."""
    found = ["Data of another site: evaluate the model on your own before any use (vesalius evaluate)."]
    if manifest.kind == "classifier":
        if not metrics.get("subgroups"):
            found.append("Subgroups, such as sex, age, scanner or site: data.source.subgroups named none.")
        if not metrics.get("calibration"):
            found.append("Calibration: probabilities are as the net gives them.")
        if not metrics.get("conformal"):
            found.append("Prediction sets with a stated coverage.")
    if manifest.contract is not None and not any(name.startswith("ood") for name in manifest.hashes):
        found.append("Whether an image is unlike the training data: the bundle holds no statistics to tell.")
    if manifest.kind in ("classifier", "regressor"):
        found.append("Readers: whether people decide better with it.")
    if not metrics.get("baselines"):
        found.append("Simple baselines on the same split.")
    found.append("Artefacts, other protocols and later devices; change of the population over time.")
    return found


def _patients(metrics: Mapping[str, Any]) -> int | None:
    counts = [entry["groups"] for entry in (metrics.get("test") or {}).values() if isinstance(entry.get("groups"), int)]
    return max(counts, default=None)


def _no_better(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Metrics of the test set, larger is better, whose interval reaches down to no skill."""
    for name in ("auroc", "balanced_accuracy", "r2", "psnr"):
        entry = (metrics.get("test") or {}).get(name) or {}
        if entry.get("ci95") and entry.get("no_skill") is not None and entry["ci95"][0] <= entry["no_skill"]:
            yield name
