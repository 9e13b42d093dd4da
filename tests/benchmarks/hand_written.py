"""Training steps of a whole run against a hand-written loop over the same net: a process of its own.

python hand_written.py CASE BLOCKS

Ours is what `vesalius train` does, with W&B and TensorBoard, progress bar, checkpoints and history. The hand-written
loop has no metrics, a DataLoader over a TensorDataset of images that are floats already, and the same net, optimiser
and memory format. Blocks of steps of both take turns. Prints one line of JSON: seconds of each, per step; by the wall's
clock and by the processor's.
"""

import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from vesalius.config.compose import load_config
from vesalius.runs.run_folder import RunFolder
from vesalius.training.session import Session

CLASSES = 4


@dataclass(frozen=True)
class Case:
    """A family, and how many of its steps make a block.

    Attributes:
        overrides: of the run.
        channels: of the images.
        size: of the images, in pixels.
        batch: images of a step.
        steps: of a block.
    """

    overrides: list[str]
    channels: int
    size: int
    batch: int
    steps: int


CASES = {
    "resnet18": Case(["model=resnet18_small"], 3, 28, 128, 1),
    "small": Case(["model=cnn", "model.net.widths=[8,16]", "model.net.blocks=1"], 1, 28, 16, 100),
    "autoencoder": Case(
        ["model=autoencoder", "model.net.encoder.widths=[16,32,64]", "model.net.encoder.blocks=1"], 1, 64, 32, 2
    ),
    "gan": Case(
        ["model=dcgan", "model.classifier=null", "model.conditional=false", "model.ema_decay=0", "model.augment=null"],
        1,
        32,
        64,
        2,
    ),
}


def write_images(case: Case, path: Path) -> tuple[Tensor, Tensor]:
    """Write random images as an .npz, and return the training images in -1..1 and their classes."""
    generator, count = np.random.default_rng(0), max(24 * case.batch, 1024)
    arrays = {}
    for split, number in (("train", count), ("val", 64), ("test", 64)):
        shape = (number, case.size, case.size, case.channels)
        arrays[f"{split}_images"] = generator.integers(0, 256, shape, dtype=np.uint8).squeeze()
        arrays[f"{split}_labels"] = np.arange(number) % CLASSES
    np.savez(path, **arrays)
    images = torch.from_numpy(arrays["train_images"]).view(count, case.size, case.size, case.channels)
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1, torch.from_numpy(arrays["train_labels"])


def single_loss(model, loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    net = copy.deepcopy(model.net).train()
    optimizer = model.make_optimizer(net.parameters())

    def step(images: Tensor, target: Tensor) -> Tensor:
        images = images.contiguous(memory_format=model.memory_format)
        loss = loss_of(net, images, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def classifier(model) -> Callable[[Tensor, Tensor], Tensor]:
    return single_loss(model, lambda net, images, target: F.cross_entropy(net(images), target))


def autoencoder(model) -> Callable[[Tensor, Tensor], Tensor]:
    return single_loss(model, lambda net, images, target: F.mse_loss(net.decode(net.encode(images)[0]), images))


def gan(model) -> Callable[[Tensor, Tensor], Tensor]:
    generator, critic = copy.deepcopy(model.generator).train(), copy.deepcopy(model.critic).train()
    make, make_critic = model.make_optimizers
    optimizer, critic_optimizer = make(generator.parameters()), make_critic(critic.parameters())

    def step(images: Tensor, target: Tensor) -> Tensor:
        images = images.contiguous(memory_format=model.memory_format)
        ones, zeros = torch.ones(len(images)), torch.zeros(len(images))
        fake = generator(torch.randn(len(images), generator.latent_dim), None)
        scores = critic(images, None), critic(fake.detach(), None)
        loss = F.binary_cross_entropy_with_logits(scores[0], ones)
        loss = loss + F.binary_cross_entropy_with_logits(scores[1], zeros)
        critic_optimizer.zero_grad()
        loss.backward()
        critic_optimizer.step()
        critic.requires_grad_(False)
        loss = F.binary_cross_entropy_with_logits(critic(fake, None), ones)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        critic.requires_grad_(True)
        return loss

    return step


class Blocks(Callback):
    """After each block of our steps takes as many of the hand-written loop, and times both."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor], loader: DataLoader, length: int) -> None:
        self.step, self.length = step, length
        self.batches = self.endless(loader)
        self.began = self.now()
        self.ours: list[tuple[float, float]] = []
        self.plain: list[tuple[float, float]] = []

    @staticmethod
    def endless(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    @staticmethod
    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def passed(self) -> tuple[float, float]:
        wall, cpu = self.now()
        return (wall - self.began[0]) / self.length, (cpu - self.began[1]) / self.length

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (batch_idx + 1) % self.length:
            return
        self.ours.append(self.passed())
        self.began = self.now()
        for _ in range(self.length):
            total = self.step(*next(self.batches)).item()
        assert np.isfinite(total)
        self.plain.append(self.passed())
        self.began = self.now()


def main(name: str, blocks: int) -> None:
    case = CASES[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images, targets = write_images(case, folder / "images.npz")
        overrides = [
            "data=npz",
            "data/augment=none",
            f"data.source.file={folder / 'images.npz'}",
            f"data.cache_dir={folder / 'cache'}",
            f"data.batch_size={case.batch}",
            f"data.steps_per_epoch={case.steps * (blocks + 1)}",
            "trainer=cpu",
            "trainer.precision=32",
            "trainer.max_epochs=1",
            "logger=[wandb,tensorboard]",
            *case.overrides,
        ]
        run = RunFolder.create(folder / "run", load_config("train", overrides), overrides)
        session = Session(run)
        session.prepare_data()
        session.check()
        session.build_model()
        make = {"autoencoder": autoencoder, "gan": gan}.get(name, classifier)
        loader = DataLoader(TensorDataset(images, targets), batch_size=case.batch, shuffle=True, drop_last=True)
        turns = Blocks(make(session.model), loader, case.steps)
        session._trainer.callbacks.append(turns)
        session.fit()
        for tracker in session.trackers:
            tracker.finish({}, {})
    clocks = {}
    for number, clock in enumerate(("wall", "cpu")):  # the first block warms up
        clocks[clock] = {
            who: [pair[number] for pair in found[1:]] for who, found in vars(turns).items() if who in ("ours", "plain")
        }
    print(json.dumps(clocks))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
