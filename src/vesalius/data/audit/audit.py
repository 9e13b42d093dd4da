"""All checks in a row, or those that every training run can afford.

`audit.json`: `{"schema": 1, "samples": n, "groups": n, "splits": {NAME: n}, "checked": [CHECK, ...], "not_checked":
{CHECK: WHY}, "not_covered": [TEXT, ...], "findings": [{"check", "severity", "message", "count", "samples": [ID, ...],
"pairs": [[ID, ID, alike], ...], "numbers": {...}}]}`. `checked` names the checks that looked; one of them without a
finding found nothing. `count` is of all that was found; `samples` and `pairs` hold the worst 50. `alike` is 1 for equal
images (for others see `near`).
"""

from collections.abc import Sequence
from typing import Any

from vesalius.data.audit import checks, files
from vesalius.data.audit.checks import Audited
from vesalius.data.audit.findings import CHECKS, Finding
from vesalius.data.samples import SPLITS

SCHEMA = 1
#: What no check here can see; said in every report.
NOT_COVERED = (
    "turned, mirrored, cropped or shifted copies of an image",
    "one patient under two ids whose images differ",
    "handwriting, small or faint text, and names that only a reader would recognise",
    "private DICOM attributes and free text under other keywords",
    "wrong labels on images that are there once",
)
#: Up to so many images the quick part compares images pair by pair as well.
QUICK_PAIRS = 5_000
#: What the quick part looks for (and, in smaller sets, `near_duplicates`).
QUICK = (
    "exact_duplicates",
    "repeated_images",
    "conflicting_labels",
    "prevalence_shift",
    "few_patients",
    "unreadable",
)
_SEVERITIES = ("error", "warning", "note")


def full_audit(audited: Audited) -> list[Finding]:
    """Every check; the gravest findings first."""
    looked_at = files.Files(audited)
    findings = [
        *checks.groups_across_splits(audited),
        *checks.exact_duplicates(audited),
        *checks.near_duplicates(audited),
        *checks.conflicting_labels(audited),
        *checks.prevalence_shift(audited),
        *checks.few_patients(audited),
        *files.unreadable(audited),
        *checks.unusual_pixels(audited),
        *files.unusual_shape(audited, looked_at),
        *files.telling_files(audited, looked_at),
        *files.identifying_tags(audited, looked_at),
        *files.text_in_pixels(audited),
    ]
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def quick_audit(audited: Audited) -> list[Finding]:
    """What takes a second: equal images, conflicting labels, shifted classes; of smaller sets similar images too."""
    findings = [*checks.exact_duplicates(audited), *checks.conflicting_labels(audited)]
    if _few(audited):
        findings += checks.near_duplicates(audited)
    findings += [*checks.prevalence_shift(audited), *checks.few_patients(audited), *files.unreadable(audited)]
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def _few(audited: Audited) -> bool:
    return len(audited.table) <= QUICK_PAIRS


def repeated_in_test(audited: Audited) -> set[str]:
    """Test samples that equal, or nearly equal, one of training or validation."""
    seen = ("train", "val")
    rows = {row for equal in audited.equal if any(audited.split[other] in seen for other in equal) for row in equal}
    rows |= {b for _, b, _ in audited.near}
    return {audited.ids[row] for row in rows if audited.split[row] == "test"}


def run_audit(
    audited: Audited, fail_on: Sequence[str], *, full: bool = False
) -> tuple[list[Finding], dict[str, Any], list[str]]:
    """Audit, and say what stands in the way.

    Args:
        audited: what to look at.
        fail_on: checks that must not find anything; they run even where they are not part of the quick audit.
        full: every check, whatever `fail_on` names.

    Returns:
        The findings, the content of `audit.json`, and a sentence for each check of `fail_on` that found something, or
        that could not be made.
    """
    full = full or not set(fail_on) <= set(_quick(audited))
    findings = full_audit(audited) if full else quick_audit(audited)
    told = to_json(audited, findings, full=full)
    found = dict.fromkeys(finding.check for finding in findings if finding.check in fail_on)
    refused = [f"audit.fail_on: {name} found something." for name in found]
    missing = {name: reason for name, reason in told["not_checked"].items() if name in fail_on and name not in found}
    return findings, told, refused + [f"audit.fail_on: {name} was not made: {why}." for name, why in missing.items()]


def _quick(audited: Audited) -> list[str]:
    return [name for name in CHECKS if name in QUICK or (name == "near_duplicates" and _few(audited))]


def to_json(audited: Audited, findings: Sequence[Finding], *, full: bool = False) -> dict[str, Any]:
    """The content of `audit.json`.

    Args:
        audited: what was looked at.
        findings: of `full_audit` or of `quick_audit`.
        full: which of the two.
    """
    wanted = list(CHECKS) if full else _quick(audited)
    reasons = files.unchecked(audited, wanted)
    return {
        "schema": SCHEMA,
        "samples": len(audited.table),
        "groups": int(audited.table["group_id"].nunique()),
        "splits": {name: int((audited.split == name).sum()) for name in SPLITS},
        "checked": [name for name in wanted if name not in reasons],
        "not_checked": reasons,
        "not_covered": list(NOT_COVERED),
        "findings": [finding.to_dict() for finding in findings],
    }
