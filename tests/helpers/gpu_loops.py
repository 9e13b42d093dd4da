"""What the figures of `make gpu` are measured with: random images, a plain PyTorch loop, and turns with a run."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from vesalius.config.compose import load_config
from vesalius.data.sources.base import Source
from vesalius.runs.run_folder import RunFolder
from vesalius.training.session import Session


class RandomImages(Source):
    """Noise in RGB, `train` images to learn from and `held_out` for validation and test each."""

    task = "multiclass"

    def __init__(self, train: int, held_out: int, size: int, classes: int) -> None:
        self.counts, self.size = (train, held_out, held_out), size
        self.classes = tuple(f"c{number}" for number in range(classes))
        shape = (sum(self.counts), 3, size, size)
        self.images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def samples(self) -> pd.DataFrame:
        number = np.arange(len(self.images))
        names, split = number.astype(str), np.repeat(["train", "val", "test"], self.counts)
        target = number % len(self.classes)
        return pd.DataFrame({"sample_id": names, "group_id": names, "split": split, "target": target})

    def load(self, row):
        return self.images[int(row["sample_id"])]

    def fingerprint(self) -> str:
        return f"{self.images.shape} {len(self.classes)}"


def fit(path: Path, overrides: list[str]) -> None:
    """Train as `vesalius train` does, in this process, without what comes after the last epoch."""
    session = Session(RunFolder.create(path, load_config("train", overrides), overrides))
    session.prepare_data()
    session.build_model()
    session.fit()


def wait() -> None:
    """Wait until the GPU has done all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class PlainLoop:
    """The training step of a tutorial: autocast, AdamW, channels last, images that lie on the device.

    Args:
        model: to train.
        images: (N, 3, H, W) uint8, on the device.
        batch: images of a step.
        dtype: of autocast.
    """

    def __init__(self, model: nn.Module, images: Tensor, batch: int, dtype: torch.dtype) -> None:
        self.images, self.batch, self.dtype = images, batch, dtype
        self.model = model.to(images.device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.target = torch.arange(batch, device=images.device) % 10
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=images.device).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=images.device).view(3, 1, 1)

    def step(self) -> None:
        """One step on random images."""
        rows = torch.randint(len(self.images), (self.batch,), device=self.images.device)
        image = (self.images[rows].float() / 255 - self.mean) / self.std
        with torch.autocast(image.device.type, self.dtype):
            loss = cross_entropy(self.model(image.contiguous(memory_format=torch.channels_last)), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


@dataclass
class Clock:
    """Seconds that blocks of steps took, of a run and of others that take turns with it.

    Attributes:
        block: steps of each in a turn.
        others: steps by name.
        seconds: of each turn by name; `ours` for the run.
        epochs: when each epoch of the run began, and when the last one ended.
    """

    block: int
    others: dict[str, Callable[[], None]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[float] = field(default_factory=list)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)


CLOCK = Clock(1, {})  # a config holds no objects


class Turns(pl.Callback):
    """After each block of steps of a run, the others of `CLOCK` take as many each, and all are timed."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        wait()
        self.began = time.perf_counter()
        CLOCK.epochs.append(self.began)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        wait()
        CLOCK.epochs.append(time.perf_counter())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if not CLOCK.others or (batch_idx + 1) % CLOCK.block:
            return
        wait()
        CLOCK.add("ours", time.perf_counter() - self.began)
        for name, step in CLOCK.others.items():
            self.began = time.perf_counter()
            for _ in range(CLOCK.block):
                step()
            wait()
            CLOCK.add(name, time.perf_counter() - self.began)
        self.began = time.perf_counter()


def matrix_peak(device: str, size: int) -> float:
    """Operations a second of a product of random bf16 matrices of this size, the best of three times ten."""
    left, right = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    found = math.inf
    for _ in range(4):  # the first warms up
        wait()
        began = time.perf_counter()
        for _ in range(10):
            left @ right
        wait()
        found = min(found, (time.perf_counter() - began) / 10)
    return 2 * size**3 / found


def training_operations(model: nn.Module, size: int) -> int:
    """Operations of forward and backward pass for one image, a multiplication and an addition counted as two."""
    with torch.device("meta"):
        image = torch.empty(2, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        model.to("meta").train()(image).sum().backward()
    return counter.get_total_flops() // 2


def small_stem_resnet18(classes: int) -> nn.Module:
    """The ResNet-18 of MedMNIST's published figures for 28 pixels."""
    model = torchvision.models.resnet18(num_classes=classes)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model


class PerSample(Dataset[tuple[Tensor, int]]):
    """One image at a time through Pillow and torchvision, as MedMNIST's own data set class does."""

    def __init__(self, images: np.ndarray, classes: int) -> None:
        self.images, self.classes = np.ascontiguousarray(images.transpose(0, 2, 3, 1)), classes
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[at])), at % self.classes


def published_recipe(
    device: str, images: np.ndarray, classes: int, steps: int, parts: int, workers: int = 0
) -> list[float]:
    """Seconds that an image takes in MedMNIST's published training: batches of 128, 32 bits, Adam.

    Args:
        device: where the model is.
        images: (N, 3, 28, 28) uint8, for all steps and five more that warm up.
        classes: number of them.
        steps: of each part that is timed.
        parts: number of them.
        workers: of the DataLoader; 0 as published.
    """
    model = small_stem_resnet18(classes).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch = min(128, len(images) // (steps * parts + 5))
    loader = DataLoader(PerSample(images, classes), batch_size=batch, shuffle=True, num_workers=workers)
    times = []
    for number, (image, target) in enumerate(loader, start=1):
        optimizer.zero_grad()
        cross_entropy(model(image.to(device)), target.to(device)).backward()
        optimizer.step()
        if number >= 5 and (number - 5) % steps == 0:
            wait()
            times.append(time.perf_counter())
    return [(after - before) / (steps * batch) for before, after in pairwise(times)][:parts]
