"""A callback that kills its own process, where the environment variable `KILL` tells: what a power cut leaves behind.

`batch:N` after N training batches of this attempt; `rank:N` likewise, but all ranks except the first; `term:N` with
SIGTERM, sent to the command that started this process; `write:N` in the N-th piece of a checkpoint's file that this
attempt writes, so that the file is half there; `rename:N` once the N-th checkpoint is whole and has not taken the place
of the older one. Nothing without the variable.
"""

import os
import signal
import time
from typing import Any

from pytorch_lightning.callbacks import Callback

from vesalius.training import checkpoint_files


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Callback):
    """See the module. In a run on several devices, only rank 0 is killed; the others end with it."""

    def __init__(self) -> None:
        self.batches = 0
        self.kind, _, count = os.environ.get("KILL", "").partition(":")
        self.left = int(count or 0)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero == (self.kind == "rank"):
            self.kind = ""
        if self.kind == "write":
            self._count_calls(checkpoint_files._HashingWriter, "write")
        elif self.kind == "rename":
            self._count_calls(checkpoint_files.os, "fsync")

    def _count_calls(self, place: Any, name: str) -> None:
        original = getattr(place, name)

        def counted(*arguments: Any) -> Any:
            if name == "fsync" and not os.readlink(f"/proc/self/fd/{arguments[0]}").endswith(".ckpt.tmp"):
                return original(*arguments)
            done = original(*arguments)
            self.left -= 1
            if self.left <= 0:
                _kill()
            return done

        setattr(place, name, counted)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches += 1
        if self.batches == self.left and self.kind in ("batch", "rank"):
            _kill()
        if self.batches == self.left and self.kind == "term":
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)
