"""One step as written by hand: Lightning, torchvision's ResNet-18, a torchmetrics object, no tracker.

Run as `python first_step_by_hand.py FILE FOLDER`, with an .npz of images; it writes what `first_step.FirstStep` writes.
"""

import sys

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
import torchvision
from torch.utils.data import DataLoader, TensorDataset

from first_step import FirstStep


class Classifier(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.resnet18(num_classes=2)
        self.accuracy = torchmetrics.Accuracy(task="binary")

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        images, labels = batch
        logits = self.net(images)
        self.accuracy(logits.argmax(1), labels)
        return torch.nn.functional.cross_entropy(logits, labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


with np.load(sys.argv[1]) as arrays:
    images = torch.from_numpy(arrays["train_images"]).float()[:, None].expand(-1, 3, -1, -1) / 255
    labels = torch.from_numpy(arrays["train_labels"]).long()
trainer = pl.Trainer(
    max_steps=1,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[FirstStep()],
    default_root_dir=sys.argv[2],
)
trainer.fit(Classifier(), DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True))
