"""Training steps of a family against plain 32-bit PyTorch code of the same net, batch by batch: a process of its own.

python article_steps.py FAMILY STEPS OVERRIDE...

The processor's instructions are chosen before torch starts, by the environment. Prints one line of JSON: seconds of
each step of ours and of the plain code on the same batch, without the first ones, which warm up, our precision, and the
seconds of the convolutions and matrix products of a further step of ours by themselves.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader

from products import Products
from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.facts import Facts

WARM_UP = 2
CLASSES = 4
#: Of each family: overrides, pixels, channels, samples of a batch, frames of a series.
FAMILIES = {
    "cnn": (["model=resnet18_small"], 28, 3, 64, None),
    "lstm": (["model=article_lstm"], 64, 3, 4, 16),
    "vgg16": (["model=article_vgg16", "model.net.weights=null", "model.preprocess.image_size=null"], 224, 3, 4, None),
    "dcgan": (
        ["model=dcgan", "model.classifier=null", "model.conditional=false", "model.ema_decay=0", "model.augment=null"],
        32,
        3,
        64,
        None,
    ),
}


class ArticleSeries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = torchvision.models.resnet18()
        self.cnn.fc = nn.Linear(self.cnn.fc.in_features, 512)
        self.lstm = nn.LSTM(512, 256, batch_first=True)
        self.fc = nn.Linear(256, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        features = self.cnn(x.view(batch * frames, *x.shape[2:])).view(batch, frames, -1)
        states, _ = self.lstm(features)
        return self.fc(states[:, -1])


def small_resnet18() -> nn.Module:
    net = torchvision.models.resnet18(num_classes=CLASSES)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def article_vgg16() -> nn.Module:
    convolutions = torchvision.models.vgg16().features
    head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, CLASSES))
    return nn.Sequential(convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def plain_classifier(net: nn.Module, rate: float) -> Callable[[dict[str, Tensor]], None]:
    """A step of the loop that every tutorial has."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    criterion = nn.CrossEntropyLoss()

    def step(batch: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        loss = criterion(net(batch["image"].float() / 255), batch["target"])
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def plain_dcgan() -> Callable[[dict[str, Tensor]], None]:
    """A step of the loop that PyTorch's tutorial has, on images of 32 pixels."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256), nn.ReLU(True)]
    for before, after in ((256, 128), (128, 64)):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)]
    generator = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())
    layers = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for before, after in ((64, 128), (128, 256)):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    critic = nn.Sequential(*layers, nn.Conv2d(256, 1, 4, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten(0))
    optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (critic, generator)]
    criterion = nn.BCELoss()

    def step(batch: dict[str, Tensor]) -> None:
        real = batch["image"].float() / 127.5 - 1
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        critic.zero_grad()
        loss_real = criterion(critic(real), ones)
        loss_real.backward()
        fake = generator(torch.randn(len(real), 100, 1, 1))
        loss_fake = criterion(critic(fake.detach()), zeros)
        loss_fake.backward()
        optimizers[0].step()
        generator.zero_grad()
        loss = criterion(critic(fake), ones)
        loss.backward()
        optimizers[1].step()
        (loss_real + loss_fake).item(), loss.item()

    return step


class PlainLoop(Callback):
    """After each step of ours takes one of the plain code on the same batch, and times both."""

    def __init__(self, step: Callable[[dict[str, Tensor]], None]) -> None:
        self.step, self.began = step, 0.0
        self.ours: list[float] = []
        self.plain: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        now = time.perf_counter()
        self.ours.append(now - self.began)
        self.step(batch)
        self.began = time.perf_counter()
        self.plain.append(self.began - now)


def batch_of(size: int, channels: int, count: int, frames: int | None, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *([] if frames is None else [frames]), channels, size, size)
    batch = {
        "image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "target": torch.randint(0, CLASSES, (count,), generator=generator),
        "index": torch.arange(count),
    }
    if frames is not None:
        batch |= {
            "mask": torch.ones(count, frames, dtype=torch.bool),
            "time": torch.arange(frames).float().expand(count, -1),
        }
    return batch


def main(family: str, steps: int, overrides: list[str]) -> None:
    chosen, size, channels, count, frames = FAMILIES[family]
    config = load_config("train", [*chosen, "trainer.accelerator=cpu", "trainer.max_epochs=1", *overrides])
    facts = Facts(
        task="multiclass",
        classes=tuple("abcd"),
        channels=channels,
        image_size=(size, size),
        value_max=255.0,
        class_counts=(10,) * CLASSES,
        train_size=40,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        sequence_length=frames,
        time_step=None if frames is None else 1.0,
    )
    model = build(config["model"], "model", facts=facts)
    plain = {
        "cnn": lambda: plain_classifier(small_resnet18(), 1e-3),
        "lstm": lambda: plain_classifier(ArticleSeries(), 1e-3),
        "vgg16": lambda: plain_classifier(article_vgg16(), 1e-4),
        "dcgan": plain_dcgan,
    }[family]()
    loop = PlainLoop(plain)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logger": False, "enable_checkpointing": False}
        callbacks = [Products(step=steps + WARM_UP, ends=False), loop]
        trainer = build(config["trainer"], "trainer", callbacks=callbacks, default_root_dir=folder, **quiet)
        batches = [batch_of(size, channels, count, frames, seed) for seed in range(steps + WARM_UP + 1)]
        trainer.fit(model, DataLoader(batches, batch_size=None))
        products = json.loads((Path(folder) / "products.json").read_text())["seconds"]
    seconds = {"ours": loop.ours[WARM_UP:-1], "plain": loop.plain[WARM_UP:-1], "products": products}
    print(json.dumps({**seconds, "precision": str(trainer.precision)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
