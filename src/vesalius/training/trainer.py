"""Lightning's Trainer with automatic precision, compilation in place, and clipping and accumulation for GANs."""

import importlib.util
import inspect
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler, Profiler
from pytorch_lightning.strategies import DDPStrategy
from torch.optim import Optimizer

from vesalius.config.errors import InputError
from vesalius.training.checkpoint_files import DurableCheckpoints

_NOTHING: AbstractContextManager[None] = nullcontext()
_SHORT = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own, which takes as long as a small step to enter and leave its 200 contexts."""

    # Lightning's is typed as what it is before its decorator: a generator.
    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """A context that does nothing."""
        return _NOTHING


class Trainer(pl.Trainer):
    """`pytorch_lightning.Trainer` whose `precision` may also be `auto`, as its `accelerator` and `devices` may.

    Lightning refuses `gradient_clip_val` and `accumulate_grad_batches` for modules with manual optimisation. Here such
    a module receives them, if it has a method `set_manual_optimization(accumulate, clip)`. For modules whose steps
    leave out parameters (`has_unused_parameters`), DDP searches for these. A profiler writes into `profile/` below
    `default_root_dir`, unless it names a folder.

    Args:
        precision: as in Lightning: `32`, `bf16` and `16` (mixed), and others; `auto` takes bf16 where the processor has
            units for it, else 32 bits.
        compile: compile the model's nets (`torch.compile`) at the first step, which takes about a minute and makes
            later steps faster. In place, so that checkpoints do not change.
        options: passed on to Lightning.

    Raises:
        InputError: for 16 bits on a CPU, options out of range, or `compile` without a compiler.
    """

    def __init__(self, precision: Any = "auto", compile: bool = False, **options: Any) -> None:
        if precision == "auto":
            precision = best_precision(str(options.get("accelerator", "auto")))
        precision = _SHORT.get(str(precision), precision)
        problems = [*_precision_problems(precision, str(options.get("accelerator", "auto")))]
        clipping = options.get("gradient_clip_val")
        if clipping is not None and not clipping >= 0:
            problems.append(f"trainer.gradient_clip_val={clipping}: must not be below 0; 0 or null does not clip.")
        accumulate = options.get("accumulate_grad_batches", 1)
        if not accumulate >= 1:
            problems.append(f"trainer.accumulate_grad_batches={accumulate}: must be 1 or more.")
        if compile and (problem := _compiler_problem()):
            problems.append(problem)
        if problems:
            raise InputError(problems)
        self.compiles = compile
        profiler, root = options.get("profiler"), options.get("default_root_dir")
        if profiler is None:
            options["profiler"] = NoProfiler()
        if isinstance(profiler, Profiler) and profiler.dirpath is None and root is not None:
            profiler.dirpath = Path(root) / "profile"
        super().__init__(precision=precision, **options)
        self.strategy.checkpoint_io = DurableCheckpoints()

    def fit(self, model: pl.LightningModule, *arguments: Any, **options: Any) -> None:
        """Train a model, as Lightning's `fit` does."""
        given = self.gradient_clip_val, self.accumulate_grad_batches
        set_manual_optimization = getattr(model, "set_manual_optimization", None)
        if not model.automatic_optimization and callable(set_manual_optimization):
            value, algorithm = self.gradient_clip_val, self.gradient_clip_algorithm
            clip = None if not value else partial(_clip, value=value, algorithm=str(algorithm or "norm"))
            set_manual_optimization(self.accumulate_grad_batches, clip)
            self.gradient_clip_val, self.accumulate_grad_batches = None, 1
        if not torch.cuda.is_available():
            # Lightning's 1 has torch search for a driver's library at every step of an optimiser.
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        if isinstance(self.strategy, DDPStrategy) and getattr(model, "has_unused_parameters", False):
            self.strategy._ddp_kwargs["find_unused_parameters"] = True
        if self.compiles:
            for part in getattr(model, "compiled_parts", [model]):
                part.compile()
        try:
            super().fit(model, *arguments, **options)
        finally:
            self.gradient_clip_val, self.accumulate_grad_batches = given


def _signature() -> inspect.Signature:
    lightnings = inspect.signature(pl.Trainer)
    added = inspect.signature(Trainer.__init__).parameters["compile"]
    return lightnings.replace(
        parameters=[*lightnings.parameters.values(), added.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    )


# The check of config keys reads this signature.
Trainer.__signature__ = _signature()  # type: ignore[attr-defined]


def _clip(optimizer: Optimizer, value: float, algorithm: str) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, value)
    else:
        torch.nn.utils.clip_grad_norm_(parameters, value)


def best_precision(accelerator: str) -> str:
    """`bf16-mixed` where it is faster and safe, `32-true` elsewhere.

    bf16 keeps the range of 32 bits, so that nothing overflows and no scaler is needed. Without units for it, a
    processor emulates it, several times more slowly than 32 bits.
    """
    device = torch.accelerator.current_accelerator()
    if accelerator != "cpu" and device is not None and torch.accelerator.is_available():
        return "bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"


def _precision_problems(precision: Any, accelerator: str) -> list[str]:
    """Problems that Lightning would only warn of, to take bf16 instead."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if on_cpu and str(precision).startswith("16"):
        return [
            "trainer.precision=16: a CPU does not train in 16-bit floats: choose trainer.precision=bf16, 32 or auto."
        ]
    return []


def _compiler_problem() -> str | None:
    """What would make `torch.compile` fail at the first step."""
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        return "trainer.compile=true: for a GPU it needs the package triton: pip install triton, or leave it false."
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")):
        return "trainer.compile=true: there is no C++ compiler: install one (apt-get install g++), or leave it false."
    return None
