"""Where in an epoch a checkpoint was saved, so that a run goes on with the very next batch."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vesalius.data.sampling.epoch_sampler import EpochSampler

_KEY = "position"


class EpochPosition(Callback):
    """Saves how many batches of the epoch are done, and the metrics so far; leaves these batches out on a resume.

    The order of batches is a function of (seed, epoch), so that their number is enough.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the position: 0 batches at the end of an epoch."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[_KEY] = {"batches": _batches_done(trainer), "metrics": metrics}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the position until the batches can be counted."""
        self._restored = checkpoint.get(_KEY)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what is done. A metric of an earlier epoch stays until it is computed again, as in any run."""
        if self._restored is None:
            return
        restored, self._restored = self._restored, None
        metrics = {name: torch.tensor(value) for name, value in restored["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(metrics)
        for sampler in _samplers(trainer):
            sampler.skip = restored["batches"]


def can_resume_here(trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
    """Whether a run could go on from the end of this training batch as if it had not been stopped.

    Not within a step over several batches, whose gradients no checkpoint holds; nor right before a validation or the
    end of the epoch, after which there is a better moment. It is the same moment on all ranks.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return (
        not trainer.should_stop
        and not loop._num_ready_batches_reached()
        and not loop._should_accumulate()
        and getattr(pl_module, "between_steps", True)
        and not loop._should_check_val_fx(fetcher)
        and len(_samplers(trainer)) == 1
    )


def _batches_done(trainer: pl.Trainer) -> int:
    """Batches of an epoch that has begun and not ended."""
    epoch: Any = trainer.fit_loop.epoch_progress.current
    within = epoch.started > epoch.processed
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready if within else 0


def _samplers(trainer: pl.Trainer) -> list[EpochSampler]:
    loader = trainer.fit_loop._combined_loader
    samplers = [] if loader is None else [one.sampler for one in loader.flattened]
    return [sampler for sampler in samplers if isinstance(sampler, EpochSampler)]
