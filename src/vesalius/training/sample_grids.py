"""Figures of a generator's images from the same noise after each epoch."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from vesalius.models.family import output_kind
from vesalius.training.history import AfterEpoch
from vesalius.training.tracking.base import trackers_of

#: Images of each class, or rows of images without classes.
_COLUMNS = 8
_ROWS = 4


class SampleGrids(AfterEpoch):
    """Writes `samples/epoch_000.png` and the like for a generator, and shows them in trackers."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw images with the averaged generator."""
        if output_kind(pl_module) != "samples" or not trainer.is_global_zero:
            return
        from vesalius.figures.synthesis import samples_figure

        images, names = fixed_samples(pl_module)
        figure = samples_figure(images.numpy(), names)
        folder = Path(trainer.default_root_dir) / "samples"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / f"epoch_{trainer.current_epoch:03d}.png", dpi=80, bbox_inches="tight")
        for tracker in trackers_of(trainer.loggers):
            tracker.show("samples", figure)


def fixed_samples(model: Any) -> tuple[Tensor, list[str] | None]:
    """A generator's images (N, C, H, W) in 0..1 from noise that is always the same, and their classes."""
    labels = torch.arange(len(model.classes) or _ROWS).repeat_interleave(_COLUMNS)
    before = model.training
    images = model.eval().sample(labels, torch.Generator().manual_seed(0)).cpu()
    model.train(before)
    return images, [model.classes[label] for label in labels.tolist()] if model.classes else None
