"""A training step of `model=article_lstm` against a plain PyTorch loop of the same model on the same batches.

In 32 bits with the memory layout of the plain loop, and as the fast profile: channels last and bfloat16, for processors
that have units for it. At 28 px both have the small stem: behind the standard one, 28 pixels become one, and there the
time goes into weights and not into arithmetic, so that bfloat16 gains nothing in either.
"""

import statistics
import time

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.facts import Facts

STEPS = 12
CLASSES = 4


class ArticleModel(nn.Module):
    def __init__(self, stem: str) -> None:
        super().__init__()
        self.cnn = torchvision.models.resnet18()
        if stem == "small":
            self.cnn.conv1, self.cnn.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        self.cnn.fc = nn.Linear(self.cnn.fc.in_features, 512)
        self.lstm = nn.LSTM(512, 256, batch_first=True)
        self.fc = nn.Linear(256, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, frames = x.shape[:2]
        features = self.cnn(x.view(batch * frames, *x.shape[2:])).view(batch, frames, -1)
        states, _ = self.lstm(features)
        return self.fc(states[:, -1])


class PlainLoop(Callback):
    """After each step of ours takes one of the plain loop on the same batch, and times both."""

    def __init__(self, stem: str) -> None:
        self.model = ArticleModel(stem)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.criterion = nn.CrossEntropyLoss()
        self.ours: list[float] = []
        self.plain: list[float] = []
        self.began = 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        now = time.perf_counter()
        self.ours.append(now - self.began)
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(batch["image"].float() / 255), batch["target"])
        loss.backward()
        self.optimizer.step()
        loss.item()
        self.began = time.perf_counter()
        self.plain.append(self.began - now)

    def ratio(self) -> float:
        """How many times as fast ours is; the first steps warm up."""
        return statistics.median(self.plain[2:]) / statistics.median(self.ours[2:])


def batches(size: int, series: int, frames: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (series, frames, 3, size, size), generator=generator, dtype=torch.uint8),
            "mask": torch.ones(series, frames, dtype=torch.bool),
            "time": torch.arange(frames, dtype=torch.float32).expand(series, -1),
            "target": torch.randint(0, CLASSES, (series,), generator=generator),
            "index": torch.arange(series),
        }
        for _ in range(STEPS)
    ]


@pytest.mark.benchmark
@pytest.mark.parametrize(("size", "series", "frames"), [(64, 8, 16), (28, 4, 16)])
@pytest.mark.parametrize(
    ("precision", "channels_last", "least"), [("32-true", "false", 0.95), ("bf16-mixed", "true", 1.5)]
)
def test_a_step_is_no_slower_than_a_plain_loop_and_faster_in_bfloat16(
    size, series, frames, precision, channels_last, least, tmp_path
):
    facts = Facts(
        task="multiclass",
        classes=tuple("abcd"),
        channels=3,
        image_size=(size, size),
        value_max=255.0,
        class_counts=(10,) * CLASSES,
        train_size=40,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        sequence_length=frames,
        time_step=1.0,
    )
    stem = "small" if size == 28 else "standard"
    changes = [f"model.channels_last={channels_last}", f"model.net.encoder.stem={stem}"]
    config = load_config("train", ["model=article_lstm", *changes])
    model = build(config["model"], "model", facts=facts)
    loop = PlainLoop(stem)
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        precision=precision,
        max_epochs=1,
        callbacks=[loop],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(batches(size, series, frames), batch_size=None))
    print(
        f"{series} series of {frames} frames of {size} px, {precision}: ours {statistics.median(loop.ours[2:]):.3f} s, "
        f"plain {statistics.median(loop.plain[2:]):.3f} s, ratio {loop.ratio():.2f} (medians of {STEPS - 2} steps)"
    )
    assert loop.ratio() >= least
