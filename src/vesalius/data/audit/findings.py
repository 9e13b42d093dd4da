"""The findings of an audit, and the checks that find them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError

Severity = Literal["error", "warning", "note"]
#: Samples or pairs that a finding names; it counts all.
MOST_LISTED = 50

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
    "unusual_pixels": "constant images, and grey values far from those of other images",
    "unusual_shape": "images of another size than most",
    "telling_files": "file properties that predict the class",
    "identifying_tags": "DICOM attributes that name the patient",
    "text_in_pixels": "signs of text drawn into the pixels, or, with data.source.mask_text, left there",
    "masked_text": "images whose text is masked",
}


@dataclass(frozen=True)
class Finding:
    """A problem of the data that a person should know before trusting a result.

    Attributes:
        check: name of the check (`CHECKS`).
        severity: `error` makes results wrong, `warning` may, a `note` does not.
        message: one sentence on what was found and what to do.
        count: how many samples (or patients, for checks of patients) it concerns.
        samples: ids of the first `MOST_LISTED` samples, the worst first.
        pairs: ids of two samples that belong together, and their similarity (1: equal), likewise.
        numbers: the numbers behind the message.
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
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise InputError([f"{key}: there is no check '{name}'.{did_you_mean(name, CHECKS)}" for name in unknown])
