"""Ends of a training before its last epoch: at `trainer.max_steps`, or pruned by its sweep."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vesalius.runs.run_folder import Pruned, prune_reason
from vesalius.training.history import AfterEpoch


class ValidateAtMaxSteps(Callback):
    """Validates after the step of `trainer.max_steps`, which Lightning does only after whole epochs."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop as a callback would, which validates first."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class PruneOnRequest(AfterEpoch):
    """Stops a run that its sweep has pruned.

    Must be the last callback, so that the epoch's row and checkpoints are written.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop.

        Raises:
            Pruned: on all ranks at once; a rank that saw the request later would wait for the others for ever.
        """
        reason = prune_reason(Path(trainer.default_root_dir)) if trainer.is_global_zero else None
        if trainer.world_size > 1:
            reason = trainer.strategy.broadcast(reason)
        if reason is not None:
            raise Pruned(reason)
