"""A callback that writes down when the optimiser took its first step."""

import json
import os
import sys
import time
from pathlib import Path

import pytorch_lightning as pl


class FirstStep(pl.Callback):
    """Writes `first_step.json` into the run folder: when the first step was, and the modules imported by then.

    Args:
        ends: whether the process ends there.
    """

    def __init__(self, ends: bool = True) -> None:
        self._ends = ends

    def on_train_batch_end(self, trainer, pl_module, *arguments) -> None:
        """Note the time, by a clock that all processes of a machine share."""
        if trainer.global_step == 1:
            found = {"time": time.time(), "cpu": sum(os.times()[:4]), "modules": sorted(sys.modules)}
            (Path(trainer.default_root_dir) / "first_step.json").write_text(json.dumps(found))
            if self._ends:
                os._exit(0)
