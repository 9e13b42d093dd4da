"""How a training stops when its sweep gave it up."""

from pathlib import Path

import pytorch_lightning as pl

from vesalius.runs.folder import Pruned, prune_reason
from vesalius.runs.history import AfterEpoch


class PruneOnRequest(AfterEpoch):
    """Looks after each epoch whether the sweep asks this run to stop.

    Goes last in the list of callbacks, so that the epoch's row and checkpoints are written.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop.

        Raises:
            Pruned: on all ranks at once: one that saw the file later would wait for the others for ever.
        """
        reason = prune_reason(Path(trainer.default_root_dir)) if trainer.is_global_zero else None
        if trainer.world_size > 1:
            reason = trainer.strategy.broadcast(reason)
        if reason is not None:
            raise Pruned(reason)
