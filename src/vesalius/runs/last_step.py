"""A run that ends within an epoch is validated and saved all the same."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class LastStep(Callback):
    """Asks for validation after the step of `trainer.max_steps`, which Lightning does after whole epochs alone."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop as a callback would, which validates first."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
