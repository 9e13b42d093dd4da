"""Images a second of a training epoch's input, against the pipeline of one sample at a time that MedMNIST ships.

Theirs is the data set class of the `medmnist` package, torchvision's transforms on each Pillow image, and a DataLoader
that stacks them. Ours is what a training run does: batches cut from the store, held in memory, and `Augment` on the
whole batch. Both flip, turn, shear and scale each sample by a draw of its own, bilinearly, in one process with the same
threads. A third figure puts the input beside what it feeds: a training step of torchvision's ResNet-18.

Rounds of all of them take turns, so that whatever else the machine does meets all alike.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from vesalius.data.augment import Augment, Flip, Rotation, Shear, Zoom
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.sources.base import Source
from vesalius.training.trainer import best_precision

ROUNDS = 7
DEGREES, SHEAR, ZOOM = 15, 10, 0.1
CLASSES = 8
HELD_OUT = 2 * CLASSES  # images of validation and of test each


@dataclass(frozen=True)
class Case:
    """One row of the table: images of one size, and how many make a batch and an epoch."""

    size: int
    channels: int
    batch: int
    count: int
    times_as_fast: float  # at least


CASES = [
    Case(28, 3, 128, 4096, 12.0),
    Case(28, 1, 128, 4096, 12.0),
    Case(128, 3, 128, 512, 1.0),
    Case(128, 1, 128, 512, 1.0),
    Case(224, 3, 64, 192, 1.0),
    Case(224, 1, 64, 192, 1.0),
]


class Made(Source):
    """Images in memory, as many in each class."""

    task, classes = "multiclass", tuple("abcdefgh")

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def samples(self) -> pd.DataFrame:
        number = np.arange(len(self.images))
        names = [str(i) for i in number]
        split = np.repeat(["train", "val", "test"], [len(number) - 2 * HELD_OUT, HELD_OUT, HELD_OUT])
        return pd.DataFrame({"sample_id": names, "group_id": names, "split": split, "target": number % CLASSES})

    def load(self, row):
        return self.images[int(row["sample_id"])]

    def fingerprint(self) -> str:
        return str(self.images.shape)


def our_input(case: Case, images: np.ndarray, folder: Path) -> Callable[[], int]:
    """What goes through an epoch of ours, and says how many images it were."""
    augment = Augment({"flip": Flip(0.5), "rotation": Rotation(DEGREES), "shear": Shear(SHEAR), "zoom": Zoom(ZOOM)})
    data = ClassificationData(Made(images), augment=augment, batch_size=case.batch, cache_dir=str(folder))
    data.setup()
    assert data.store.in_memory
    data.trainer = SimpleNamespace(training=True, current_epoch=0, global_rank=0, world_size=1)

    def epoch() -> int:
        seen = 0
        for batch in data.train_dataloader():
            image = data.on_after_batch_transfer(batch, 0)["image"]
            assert image.dtype == torch.float32
            seen += len(image)
        return seen

    return epoch


def their_input(case: Case, images: np.ndarray, folder: Path, workers: int) -> Callable[[], int]:
    """The same of MedMNIST's loader."""
    import medmnist  # slow to import, and this file is collected by every test run
    from torchvision import transforms

    flag = "bloodmnist" if case.channels == 3 else "tissuemnist"  # eight classes each, in colour and in grey
    kept = images.transpose(0, 2, 3, 1)[: case.count].squeeze()
    labels = np.arange(len(images))[:, None] % CLASSES
    parts = {"train": slice(0, case.count), "val": slice(0, 2), "test": slice(0, 2)}
    arrays = {f"{split}_images": kept[part] for split, part in parts.items()}
    arrays |= {f"{split}_labels": labels[part] for split, part in parts.items()}
    np.savez(folder / f"{flag}{'' if case.size == 28 else f'_{case.size}'}.npz", **arrays)
    bilinear = transforms.InterpolationMode.BILINEAR
    transform = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(0.5),
            transforms.RandomAffine(DEGREES, scale=(1 - ZOOM, 1 + ZOOM), shear=SHEAR, interpolation=bilinear),
            transforms.ToTensor(),
        ]
    )
    dataset_class = getattr(medmnist, medmnist.INFO[flag]["python_class"])
    dataset = dataset_class(split="train", transform=transform, root=str(folder), size=case.size)
    dataset.info = {**dataset.info, "n_samples": {"train": case.count}}  # which the class compares with the file
    loader = DataLoader(
        dataset, batch_size=case.batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: sum(len(image) for image, _ in loader)


def training_step(case: Case, dtype: torch.dtype) -> Callable[[], int]:
    """One step of ResNet-18 on a batch that is there already."""
    from torchvision.models import resnet18

    model = resnet18(num_classes=CLASSES)
    optimizer = torch.optim.AdamW(model.parameters())
    images = torch.rand(case.batch, 3, case.size, case.size)
    target = torch.arange(case.batch) % CLASSES

    def step() -> int:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = torch.nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return case.batch

    return step


def take_turns(contestants: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Seconds that an image takes each of them in every round, after one that warms up; the short `ours` thrice."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            times = 3 if name == "ours" else 1
            started = time.perf_counter()
            images = sum(work() for _ in range(times))
            if number:
                seconds[name].append((time.perf_counter() - started) / images)
    return seconds


@pytest.mark.benchmark
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.size}px-{case.channels}")
def test_input_keeps_ahead_of_the_per_sample_pipeline_and_of_training(case, tmp_path, row):
    shape = (case.count + 2 * HELD_OUT, case.channels, case.size, case.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ours = our_input(case, images, tmp_path)
    found = take_turns({"ours": ours, "theirs": their_input(case, images, tmp_path, 0)}, ROUNDS)
    workers = take_turns({"2 workers": their_input(case, images, tmp_path, 2)}, 2)["2 workers"]
    kind = f"{case.size} px, {'RGB' if case.channels == 3 else 'grey'}"
    row(
        f"augmented input, {kind}",
        "images/s",
        *([1 / seconds for seconds in found[name]] for name in ("ours", "theirs")),
        against="`medmnist` + torchvision, per sample",
        at_least=case.times_as_fast,
        note=f"with num_workers=2 the reference reads {1 / statistics.median(workers):,.0f} images/s",
    )
    if case.channels == 3:
        dtype = torch.bfloat16 if best_precision("cpu").startswith("bf16") else torch.float32
        step = take_turns({"ours": ours, "step": training_step(case, dtype)}, 3)
        row(
            f"augmented input, {kind}, as a share of a ResNet-18 step",
            "ms/image",
            *([1000 * seconds for seconds in step[name]] for name in ("ours", "step")),
            against=f"the step in {dtype}".replace("torch.", ""),
            at_most=0.03,
        )
