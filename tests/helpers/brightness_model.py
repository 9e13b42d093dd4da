"""A model in numpy that classifies images, or series, by their mean brightness: what a server serves in tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vesalius.config.facts import Facts
from vesalius.data.sources.tables.file_reader import ReadOptions
from vesalius.deploy.backend import Outputs
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput

CLASSES = ("dark", "bright")


class BrightnessBackend:
    """The probability of `bright` is the mean of the pixels, on the scale where the top of the range is 1."""

    sha256 = "0" * 64
    ood = None

    def __init__(self, size: tuple[int, int] = (32, 32), *, series: bool = False, **changes: Any) -> None:
        options: dict[str, Any] = {
            "read": ReadOptions("volume" if series else "slice", "auto", "axial"),
            "one_window": False,
            "bits": 8,
            "channels": 1,
            "converts_channels": True,
            "image_size": size,
            "resizes": True,
            "fit": "stretch",
            "value_max": 255.0,
            "series": series,
            "timed": False,
            "frame_seconds": None,
        }
        self.contract = InputContract(**(options | changes))
        self.facts = Facts("binary", CLASSES, 1, size, 255.0, (5, 5), 10, (0.5,), (0.2,), 3 if series else None)
        interval = {"value": 0.9, "ci95": [0.8, 0.95], "n": 40, "groups": 20, "method": "bootstrap", "no_skill": 0.5}
        rates = {name: {**interval, "value": 0.75} for name in ("sensitivity", "specificity", "ppv", "npv")}
        self.metrics: dict[str, Any] = {
            "decision": {"rule": "youden", "threshold": 0.4},
            "operating_point": {
                "rule": "youden",
                "class": "bright",
                "threshold": 0.4,
                "prevalence": 0.3,
                "test": rates,
            },
            "conformal": {"coverage": 0.9, "by_class": False, "thresholds": [0.5, 0.5]},
            "test": {"auroc": interval},
        }

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        bright = np.array([one.images.mean() / 255 for one in inputs])
        return Outputs(np.column_stack([1 - bright, bright]))
