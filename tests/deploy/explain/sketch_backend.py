"""A model whose reasons are known: it reads one place of one frame."""

from collections.abc import Sequence

import numpy as np

from vesalius.config.facts import Facts
from vesalius.data.sources.tables.file_reader import ReadOptions
from vesalius.deploy.backend import Outputs
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput


class OnePlace:
    """Class 1 is as probable as the pixels in a square of the frame at one time are bright.

    Args:
        place: rows and columns that it reads.
        second: time of the frame that it reads; None: an image, whose only frame it reads.
    """

    ood, sha256 = None, "0" * 64

    def __init__(self, place: tuple[slice, slice], second: float | None = None) -> None:
        self.place, self.second = place, second
        self.metrics: dict[str, object] = {}
        series = second is not None
        self.facts = Facts(
            "binary",
            ("dark", "bright"),
            1,
            (32, 32),
            255.0,
            (1, 1),
            2,
            (0.5,),
            (0.1,),
            sequence_length=6 if series else None,
        )
        read = ReadOptions("slice", "auto", "axial")
        self.contract = InputContract(
            read, False, None, 1, False, (32, 32), False, "stretch", 255.0, series, series, None
        )

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        bright = [self._bright(one) for one in inputs]
        return Outputs(np.array([[1 - chance, chance] for chance in bright]))

    def _bright(self, one: ModelInput) -> float:
        frames = one.images
        if self.second is not None:
            frames = frames[np.isclose(one.seconds, self.second)]
        return float(frames[..., self.place[0], self.place[1]].mean() / 255) if len(frames) else 0.01
