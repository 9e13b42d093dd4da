"""The audit: every check, or those that each training run can afford.

`audit.json`: `{"schema": 1, "samples": n, "groups": n, "splits": {NAME: n}, "checked": [CHECK, ...], "not_checked":
{CHECK: WHY}, "not_covered": [TEXT, ...], "findings": [{"check", "severity", "message", "count", "samples": [ID, ...],
"pairs": [[ID, ID, similarity], ...], "numbers": {...}}]}`. `checked` names the checks that ran; one of them without a
finding found nothing. `count` is of all that was found; `samples` and `pairs` hold the worst 50. The similarity is 1
for equal images (for others see `similar_images`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vesalius.data.audit import file_checks, image_checks, table_checks
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.availability import unavailable_checks
from vesalius.data.audit.file_properties import FileProperties
from vesalius.data.audit.findings import CHECKS, Finding
from vesalius.data.samples import SPLITS
from vesalius.data.store.blocks import one_thread_per_kernel

SCHEMA = 1
#: What no check here can see; in every report.
NOT_COVERED = (
    "turned, mirrored, cropped or shifted copies of an image",
    "one patient under two ids whose images differ",
    "handwriting, small or faint text, and names that only a reader would recognise",
    "private DICOM attributes and free text under other keywords",
    "wrong labels on images that occur only once",
)
#: The quick audit compares images pair by pair in sets of up to this many.
QUICK_PAIRS = 5_000
#: The checks of the quick audit (and, in smaller sets, `near_duplicates`).
QUICK = (
    "exact_duplicates",
    "repeated_images",
    "conflicting_labels",
    "prevalence_shift",
    "few_patients",
    "unreadable",
)
#: And where text is masked.
MASKING = ("text_in_pixels", "masked_text")
_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        findings: errors first, then warnings and notes.
        report: the content of `audit.json`.
        failures: a sentence for each check of `audit.fail_on` that found something, or that could not run.
    """

    findings: list[Finding]
    report: dict[str, Any]
    failures: list[str]


def run_audit(data: AuditInput, fail_on: Sequence[str], *, full: bool = False) -> Audit:
    """Audit a data set.

    Args:
        data: what to audit.
        fail_on: checks that must not find anything; they run even where they are not part of the quick audit.
        full: run every check, whatever `fail_on` names.
    """
    full = full or not set(fail_on) <= set(_quick_checks(data))
    findings = full_audit(data) if full else quick_audit(data)
    report = _report(data, findings, full)
    found = dict.fromkeys(finding.check for finding in findings if finding.check in fail_on)
    missing = {name: why for name, why in report["not_checked"].items() if name in fail_on and name not in found}
    failures = [f"audit.fail_on: {name} found something." for name in found]
    failures += [f"audit.fail_on: {name} could not run: {why}." for name, why in missing.items()]
    return Audit(findings, report, failures)


def full_audit(data: AuditInput) -> list[Finding]:
    """The findings of every check, the gravest first."""

    def of_samples() -> list[Finding]:
        return [
            *table_checks.groups_across_splits(data),
            *image_checks.exact_duplicates(data),
            *image_checks.near_duplicates(data),
            *image_checks.conflicting_labels(data),
            *table_checks.prevalence_shift(data),
            *table_checks.few_patients(data),
            *image_checks.unreadable(data),
            *image_checks.unusual_pixels(data),
        ]

    def of_files() -> list[Finding]:
        files = FileProperties(data)
        return [
            *file_checks.unusual_shape(data, files),
            *file_checks.telling_files(data, files),
            *file_checks.identifying_tags(data, files),
            *image_checks.text_in_pixels(data),
        ]

    # The files are read by Python, which keeps one core busy while the kernels of the other checks keep the rest
    with one_thread_per_kernel(), ThreadPoolExecutor(1, thread_name_prefix="audit") as pool:
        files = pool.submit(of_files)
        return _sorted([*of_samples(), *files.result()])


def quick_audit(data: AuditInput) -> list[Finding]:
    """The findings of the checks that take a second: equal images, conflicting labels, shifted classes, bad files.

    In sets of up to `QUICK_PAIRS` samples, of similar images too; where text is masked, for what is left of it.
    """
    return _sorted(
        [
            *image_checks.exact_duplicates(data),
            *image_checks.conflicting_labels(data),
            *(image_checks.near_duplicates(data) if _is_small(data) else ()),
            *table_checks.prevalence_shift(data),
            *table_checks.few_patients(data),
            *image_checks.unreadable(data),
            *(image_checks.text_in_pixels(data) if data.source.mask_text else ()),
        ]
    )


def repeated_in_test(data: AuditInput) -> set[str]:
    """Ids of test samples that equal, or nearly equal, one of training or validation."""
    seen = ("train", "val")
    rows = {row for equal in data.equal if any(data.split[other] in seen for other in equal) for row in equal}
    rows |= {b for _, b, _ in data.near}
    return {data.ids[row] for row in rows if data.split[row] == "test"}


def _report(data: AuditInput, findings: Sequence[Finding], full: bool) -> dict[str, Any]:
    """The content of `audit.json`, of a full or a quick audit."""
    wanted = list(CHECKS) if full else _quick_checks(data)
    reasons = unavailable_checks(data, wanted)
    return {
        "schema": SCHEMA,
        "samples": len(data.table),
        "groups": int(data.table["group_id"].nunique()),
        "splits": {name: int((data.split == name).sum()) for name in SPLITS},
        "checked": [name for name in wanted if name not in reasons],
        "not_checked": reasons,
        "not_covered": list(NOT_COVERED),
        "findings": [finding.to_dict() for finding in findings],
    }


def _is_small(data: AuditInput) -> bool:
    return len(data.table) <= QUICK_PAIRS


def _quick_checks(data: AuditInput) -> list[str]:
    more = {"near_duplicates": _is_small(data), **dict.fromkeys(MASKING, data.source.mask_text)}
    return [name for name in CHECKS if name in QUICK or more.get(name)]


def _sorted(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))
