"""What an audit says: one finding a kind of problem."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vesalius.config.errors import InputError

Severity = Literal["error", "warning", "note"]

#: Name of each check -> what it looks for. `audit.fail_on` names checks.
CHECKS: dict[str, str] = {
    "groups_across_splits": "patients with images in two splits",
    "exact_duplicates": "equal images in two splits",
    "near_duplicates": "nearly equal images of different patients in two splits",
    "repeated_images": "equal images inside a split",
    "conflicting_labels": "equal images with different targets",
    "prevalence_shift": "classes that are more frequent in one split than chance allows",
    "few_patients": "splits with few patients of a class",
    "unreadable": "images that cannot be decoded",
    "unusual_pixels": "constant images, and grey values far from those of the others",
    "unusual_shape": "images of another shape than the others",
    "telling_files": "file properties that predict the class",
    "identifying_tags": "DICOM attributes that say who the patient is",
    "text_in_pixels": "signs of text drawn into the pixels",
}


@dataclass(frozen=True)
class Finding:
    """Something that a person should know before trusting a result.

    Attributes:
        check: name of the check (`CHECKS`).
        severity: `error` makes results wrong, `warning` may, a `note` does not.
        message: one sentence on what was found and what to do.
        count: how many samples (or patients, for checks of patients) it concerns.
        samples: ids of samples, the worst first; cut to what a person may want to see.
        pairs: ids of two samples that belong together, and how alike they are (1: equal), the worst first.
        numbers: what the message rests upon.
    """

    check: str
    severity: Severity
    message: str
    count: int
    samples: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str, float]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for `audit.json`."""
        return asdict(self)


def check_names(names: Sequence[str], key: str) -> None:
    """Refuse names of checks that do not exist.

    Raises:
        InputError: with the nearest right names.
    """
    import difflib

    unknown = [name for name in names if name not in CHECKS]
    problems = []
    for name in unknown:
        near = difflib.get_close_matches(name, CHECKS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(CHECKS)}."
        problems.append(f"{key}: there is no check '{name}'.{hint}")
    if problems:
        raise InputError(problems)
