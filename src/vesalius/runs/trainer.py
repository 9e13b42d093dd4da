"""Lightning's Trainer, with one choice that only the machine can make, and options that hold for GANs too."""

import inspect
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer


class Trainer(pl.Trainer):
    """`pytorch_lightning.Trainer` whose `precision` may also be `auto`, as its `accelerator` and `devices` may.

    Lightning refuses `gradient_clip_val` and `accumulate_grad_batches` for modules that step by themselves. Here such
    a module is handed them, if it has a method `take_over(accumulate, clip)`.

    Args:
        precision: as Lightning has it; `auto` takes bf16 where the processor calculates in it, else 32 bits.
        options: everything else, handed on as it is.
    """

    def __init__(self, precision: Any = "auto", **options: Any) -> None:
        if precision == "auto":
            precision = best_precision(str(options.get("accelerator", "auto")))
        super().__init__(precision=precision, **options)

    def fit(self, model: pl.LightningModule, *arguments: Any, **options: Any) -> None:
        """Train a model, as Lightning's `fit` does."""
        take_over = getattr(model, "take_over", None)
        if not model.automatic_optimization and callable(take_over):
            value, algorithm = self.gradient_clip_val, self.gradient_clip_algorithm
            clip = None if value is None else partial(_clip, value=value, algorithm=str(algorithm or "norm"))
            take_over(self.accumulate_grad_batches, clip)
            self.gradient_clip_val, self.accumulate_grad_batches = None, 1
        super().fit(model, *arguments, **options)


# The check of a config's keys reads this signature.
Trainer.__signature__ = inspect.signature(pl.Trainer)  # type: ignore[attr-defined]


def _clip(optimizer: Optimizer, value: float, algorithm: str) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, value)
    else:
        torch.nn.utils.clip_grad_norm_(parameters, value)


def best_precision(accelerator: str) -> str:
    """`bf16-mixed` where it is faster and safe, `32-true` elsewhere.

    bf16 keeps the range of 32 bits, so that nothing overflows and no scaler is needed. A processor without units for it
    calculates it in software, several times more slowly than 32 bits.
    """
    device = torch.accelerator.current_accelerator()
    if accelerator != "cpu" and device is not None and torch.accelerator.is_available():
        return "bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"
