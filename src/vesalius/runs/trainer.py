"""Lightning's Trainer, with one choice that only the machine can make."""

import inspect
from typing import Any

import pytorch_lightning as pl
import torch


class Trainer(pl.Trainer):
    """`pytorch_lightning.Trainer` whose `precision` may also be `auto`, as its `accelerator` and `devices` may.

    Args:
        precision: as Lightning has it; `auto` takes bf16 where the processor calculates in it, else 32 bits.
        options: everything else, handed on as it is.
    """

    def __init__(self, precision: Any = "auto", **options: Any) -> None:
        if precision == "auto":
            precision = best_precision(str(options.get("accelerator", "auto")))
        super().__init__(precision=precision, **options)


# The check of a config's keys reads this signature.
Trainer.__signature__ = inspect.signature(pl.Trainer)  # type: ignore[attr-defined]


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
