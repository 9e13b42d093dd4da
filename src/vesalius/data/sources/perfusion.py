"""The phantom of contrast-enhanced series as a source: no files, exact ground truth."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.phantoms.breast import SECTIONS
from vesalius.data.phantoms.kinetics import CURVES
from vesalius.data.phantoms.perfusion import PARAMETERS, Protocol, acquire, draw_patient, draw_series, draw_times
from vesalius.data.phantoms.subgroups import Subgroup, draw_subgroups
from vesalius.data.sources.base import Source

DECODER_VERSION = 1

Target = Literal["curve_type", "time_to_peak", "next_points"]


class Perfusion(Source):
    """Contrast-enhanced series of a breast with one lesion, whose class shows only in its dynamics.

    Args:
        patients: number of patients, 16 or more; every four have the four curve types.
        series: series per patient, 1 to 3: neighbouring sections of the same lesion.
        frames: frames of a whole series, 6 to 64, over five and a half minutes.
        image_size: height and width in pixels, 24 to 512.
        irregular: whether the gaps between frames differ, within and between series.
        variable_length: whether series end early, after two thirds of their frames or later, regardless of the class.
        target: `curve_type`: none, persistent, plateau or washout; `time_to_peak`: seconds from the first frame until
            the lesion is brightest, only in enhancing patients (a persistent curve peaks at its last frame);
            `next_points`: the last `horizon` frames are withheld, and the targets are the lesion's enhancement at those
            times, in grey values.
        horizon: frames withheld for `next_points`, 1 to a third of `frames`; ignored otherwise.
        seed: of the random numbers; another seed gives other patients.
        subgroups: columns to report on, of `site` and `sex`: drawn at random, they have no influence on the images.

    Raises:
        InputError: for values outside these ranges.
    """

    series = True

    def __init__(
        self,
        patients: int = 600,
        series: int = 1,
        frames: int = 12,
        image_size: int = 32,
        irregular: bool = False,
        variable_length: bool = False,
        target: Target = "curve_type",
        horizon: int = 3,
        seed: int = 0,
        subgroups: Sequence[Subgroup] = (),
    ) -> None:
        limits = {"patients": (patients, 16, 100_000), "series": (series, 1, len(SECTIONS)), "frames": (frames, 6, 64)}
        limits |= {"image_size": (image_size, 24, 512), "seed": (seed, 0, 2**31)}
        if target == "next_points":
            limits["horizon"] = (horizon, 1, frames // 3)
        problems = [
            f"data.source.{name}={value}: must lie between {low} and {high}."
            for name, (value, low, high) in limits.items()
            if not low <= value <= high
        ]
        if problems:
            raise InputError(problems)
        self.patients, self.sections, self.seed = patients, series, seed
        self._subgroups = draw_subgroups(subgroups, seed, patients)
        self.protocol = Protocol(frames, image_size, irregular, variable_length)
        self.target, self.withheld = target, horizon if target == "next_points" else 0
        self.task: Task = "multiclass" if target == "curve_type" else "regression"
        self.classes = {
            "curve_type": CURVES,
            "time_to_peak": ("time_to_peak",),
            "next_points": tuple(f"enhancement_{step}" for step in range(1, horizon + 1)),
        }[target]

    def samples(self) -> pd.DataFrame:
        """One row per series; the split is left to the split by patient."""
        rows = []
        for number in range(self.patients):
            label = draw_patient(self.seed, number).label
            if self.target == "time_to_peak" and label == "none":
                continue
            for section in range(self.sections):
                times = draw_times(self.seed, number, section, self.protocol)
                rows.append(
                    {
                        "sample_id": f"p{number:05d}_s{section}",
                        "group_id": f"p{number:05d}",
                        "split": None,
                        **self._targets(number, label, times),
                        "_patient": number,
                        "_section": section,
                        **{name: values[number] for name, values in self._subgroups.items()},
                        "_times": times[: len(times) - self.withheld].tolist(),
                    }
                )
        return pd.DataFrame(rows)

    def load(self, row: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Draw a series: (T, 1, H, W), 8 bits."""
        number, section = int(row["_patient"]), int(row["_section"])
        drawn = draw_series(self.seed, number, section, self.protocol)
        recorded = acquire(drawn, self.seed, number, section)
        return recorded[: len(recorded) - self.withheld, None]

    def mask(self, row: Mapping[str, Any]) -> NDArray[np.bool_]:
        """The mask of the lesion in each frame of `load`: (T, H, W)."""
        drawn = draw_series(self.seed, int(row["_patient"]), int(row["_section"]), self.protocol)
        return drawn.layers.lesion[: len(drawn.times) - self.withheld] >= 0.5

    def fingerprint(self) -> str:
        """A digest of the phantom's parameters and of those arguments that change the pixels."""
        settings = (DECODER_VERSION, PARAMETERS, self.protocol, self.withheld, self.seed)
        return hashlib.blake2b(repr(settings).encode(), digest_size=16).hexdigest()

    def _targets(self, number: int, label: str, times: NDArray[np.float64]) -> dict[str, float]:
        if self.target == "curve_type":
            return {"target": CURVES.index(label)}
        kinetics, end = draw_patient(self.seed, number).kinetics, float(times[-1])
        values = [kinetics.time_to_peak(end, label)]
        if self.target == "next_points":
            values = kinetics.enhancement(times[-self.withheld :], end, label).tolist()
        return {f"target/{name}": value for name, value in zip(self.classes, values, strict=True)}
