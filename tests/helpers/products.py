"""A callback that measures what the convolutions and matrix products of one training step take by themselves."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

REPEATS = 3


class Products(pl.Callback):
    """Writes `products.json` into the run folder: no step takes less than its arithmetic does.

    `flops` are those of every product of the step, forward and backward; `seconds` is the sum of the fastest of
    `REPEATS` computations of each, on the step's own tensors, so of their shapes, precision, memory format and threads.
    `steps` are those of an epoch.

    Args:
        step: number of the step that is measured; those before it warm up.
        ends: whether the process ends there.
    """

    def __init__(self, step: int = 3, ends: bool = True) -> None:
        self._step, self._ends = step, ends

    def on_train_batch_start(self, trainer, pl_module, batch, number) -> None:
        """Repeat the products of one step."""
        if number == self._step:
            self._products = _Repeated()
            self._products.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, number) -> None:
        """Write down what they took."""
        if number == self._step:
            self._products.__exit__(None, None, None)
            found = {"flops": self._products.flops, "seconds": self._products.seconds}
            found["steps"] = trainer.num_training_batches
            (Path(trainer.default_root_dir) / "products.json").write_text(json.dumps(found))
            if self._ends:
                os._exit(0)


class _Repeated(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.flops, self.seconds = 0, 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **kwargs, out_val=found)
            self.seconds += min(_seconds(func, args, kwargs) for _ in range(REPEATS))
        return found


def _seconds(func, args, kwargs) -> float:
    begun = time.perf_counter()
    func(*args, **kwargs)
    return time.perf_counter() - begun
