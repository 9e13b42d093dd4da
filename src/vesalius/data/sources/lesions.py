"""The built-in phantom of body slices as a source: no files, exact ground truth."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.phantoms.findings import CLASSES
from vesalius.data.phantoms.lesions import HEIGHTS, PARAMETERS, acquire, cover_finding, draw_patient, draw_slice
from vesalius.data.phantoms.subgroups import Subgroup, draw_subgroups
from vesalius.data.sources.base import Source

DECODER_VERSION = 1

Target = Literal["finding", "diameter"]


class Lesions(Source):
    """Slices of a body phantom; each patient is healthy or has a nodule, a cyst or a spiculated lesion.

    Args:
        patients: number of patients, 16 or more; every four have the four classes.
        slices: slices per patient, 1 to 7, all through the finding.
        image_size: height and width in pixels, 28 to 512.
        target: `finding`: healthy, nodule, cyst or spiculated; `diameter`: of a disc as large as the finding in the
            slice, in percent of the image's width, only in patients with a finding.
        seed: of the random numbers; another seed gives other patients.
        subgroups: columns to report on, of `site` and `sex`: drawn at random, they have no influence on the images.

    Raises:
        InputError: for numbers outside these ranges.
    """

    def __init__(
        self,
        patients: int = 600,
        slices: int = 4,
        image_size: int = 64,
        target: Target = "finding",
        seed: int = 0,
        subgroups: Sequence[Subgroup] = (),
    ) -> None:
        limits = {"patients": (patients, 16, 100_000), "slices": (slices, 1, len(HEIGHTS))}
        limits |= {"image_size": (image_size, 28, 512), "seed": (seed, 0, 2**31)}
        problems = [
            f"data.source.{name}={value}: must lie between {low} and {high}."
            for name, (value, low, high) in limits.items()
            if not low <= value <= high
        ]
        if problems:
            raise InputError(problems)
        self.patients, self.slices, self.image_size, self.seed = patients, slices, image_size, seed
        self.target = target
        self.task: Task = "multiclass" if target == "finding" else "regression"
        self.classes = CLASSES if target == "finding" else (target,)
        self._subgroups = draw_subgroups(subgroups, seed, patients)

    def samples(self) -> pd.DataFrame:
        """One row per slice; the split is left to the split by patient."""
        rows = []
        for number in range(self.patients):
            label = draw_patient(self.seed, number).label
            if self.target == "diameter" and label == "healthy":
                continue
            for position in range(self.slices):
                rows.append(
                    {
                        "sample_id": f"p{number:05d}_s{position}",
                        "group_id": f"p{number:05d}",
                        "split": None,
                        **self._targets(number, position, label),
                        "_patient": number,
                        "_slice": position,
                        **{name: values[number] for name, values in self._subgroups.items()},
                    }
                )
        return pd.DataFrame(rows)

    def load(self, row: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Draw a slice: (1, H, W), 8 bits."""
        number, position = int(row["_patient"]), int(row["_slice"])
        image, _ = draw_slice(self.seed, number, position, self.image_size)
        return acquire(image, self.seed, number, position)[None]

    def mask(self, row: Mapping[str, Any]) -> NDArray[np.bool_]:
        """The mask of the finding: (H, W), False everywhere in healthy patients."""
        return cover_finding(self.seed, int(row["_patient"]), int(row["_slice"]), self.image_size) >= 0.5

    def fingerprint(self) -> str:
        """A digest of the phantom's parameters and of those arguments that change the pixels."""
        settings = (DECODER_VERSION, PARAMETERS, self.patients, self.slices, self.image_size, self.seed)
        return hashlib.blake2b(repr(settings).encode(), digest_size=16).hexdigest()

    def _targets(self, number: int, position: int, label: str) -> dict[str, float]:
        if self.target == "finding":
            return {"target": CLASSES.index(label)}
        covered = cover_finding(self.seed, number, position, self.image_size)
        return {"target/diameter": 200 * math.sqrt(float(covered.mean()) / math.pi)}
