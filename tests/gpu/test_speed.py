"""Speed on one GPU: ResNet-50 next to a plain PyTorch loop, and an epoch of 90,000 small images."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
import torchvision

import gpu_loops
from gpu_loops import Clock, PlainLoop, RandomImages, fit, matrix_peak, published_recipe, training_operations
from gpu_table import record
from speed_rows import Row


@dataclass(frozen=True)
class Sizes:
    """Of one device."""

    large: tuple[int, int, int]  # pixels, batch and training images of ResNet-50's turns
    block: int
    turns: int
    small: tuple[int, int]  # batch and training images of the epoch
    epochs: int
    published: int  # steps of each part of the published recipe
    matrix: int


SIZES = {
    "cuda": Sizes((224, 256, 2560), 10, 7, (1024, 88 * 1024), 7, 20, 8192),
    "cpu": Sizes((32, 4, 16), 2, 3, (16, 64), 3, 2, 64),
}


@pytest.fixture(autouse=True)
def _allowed(monkeypatch):
    monkeypatch.setenv("VESALIUS_ALLOW", "gpu_loops")


def data(train: int, batch: int, size: int, classes: int) -> list[str]:
    """Validation and test are one batch each, so that the compiler meets one shape."""
    held_out = max(batch, 2 * classes)
    options = {"_target_": "gpu_loops.RandomImages", "train": train, "held_out": held_out, "size": size}
    words = ", ".join(f"{key}: {value}" for key, value in {**options, "classes": classes}.items())
    batches = [f"data.batch_size={batch}", f"data.eval_batch_size={held_out}"]
    return ["data=lesions", "~data.source", f"+data.source={{{words}}}", *batches]


def on(device: str) -> list[str]:
    turns = "+callbacks.turns={_target_: gpu_loops.Turns}"
    place = ["trainer=gpu", "trainer.compile=true"] if device == "cuda" else ["trainer=cpu"]
    return [*place, "logger=none", "trainer.precision=bf16", "+trainer.benchmark=true", turns]


def test_resnet50_is_as_fast_as_a_plain_loop(device, tmp_path):
    sizes = SIZES[device]
    pixels, batch, count = sizes.large
    make = torchvision.models.resnet50 if device == "cuda" else torchvision.models.resnet18
    images = torch.randint(0, 256, (count, 3, pixels, pixels), dtype=torch.uint8, device=device)
    plain, compiled = (PlainLoop(make(num_classes=10), images, batch, torch.bfloat16) for _ in range(2))
    if device == "cuda":
        compiled.model.compile()
    what = f"{make.__name__} at {pixels} px, batch {batch}, bf16, compiled"
    options = [*data(count, batch, pixels, classes=10), f"model={make.__name__}", *on(device)]
    options += [f"data.steps_per_epoch={sizes.block * (sizes.turns + 2)}", "trainer.max_epochs=1"]

    def images_per_second(name: str, others: dict[str, Callable[[], None]], *more: str) -> dict[str, list[float]]:
        gpu_loops.CLOCK = clock = Clock(sizes.block, others)
        fit(tmp_path / name, [*options, *more])
        found = {who: [sizes.block * batch / each for each in seconds[2:]] for who, seconds in clock.seconds.items()}
        assert {len(values) for values in found.values()} == {sizes.turns}
        return found

    speed = images_per_second("held", {"plain loop": plain.step, "plain loop, compiled": compiled.step})
    for name in list(speed)[1:]:
        record(Row(what, "images/s", speed["ours"], speed[name], name, at_least=0.95))
    peak, operations = matrix_peak(device, sizes.matrix), training_operations(make(num_classes=10), pixels)
    share = [100 * ours * operations / peak for ours in speed["ours"]]
    peak_of = f"{make.__name__}: share of the peak, {peak / 1e12:.0f} TFLOP/s of a product of matrices"
    record(Row(peak_of, "%", share, at_least=5, note=f"{operations / 1e9:.1f} GFLOP per image, there and back"))
    speed = images_per_second("copied", {"plain loop, compiled": compiled.step}, "data.device_limit_gb=0")
    reference = "plain loop, compiled, images on the GPU"
    record(
        Row(f"{what}, images in main memory", "images/s", speed["ours"], [*speed.values()][1], reference, at_least=0.9)
    )


#: One net against the published recipe with the same net, and our own recipe against it.
RECIPES = {
    "the recipe `medmnist_fast`": ["experiment=medmnist_fast"],
    "the published net": ["experiment=medmnist_official"],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_epoch_of_small_images_takes_seconds(recipe, device, tmp_path):
    sizes, classes = SIZES[device], 9
    batch, count = sizes.small
    gpu_loops.CLOCK = clock = Clock(1, {})
    options = [*RECIPES[recipe], *data(count, batch, 28, classes), f"trainer.max_epochs={sizes.epochs}"]
    fit(tmp_path / "run", [*options, *on(device)])
    seconds = [after - before for before, after in pairwise(clock.epochs)][1:]  # the first compiles
    assert len(seconds) == sizes.epochs - 1
    what = f"an epoch of {count} images of 28 px on the GPU, {recipe}, batch {batch}, bf16"
    record(Row(what, "s", seconds, at_most=3))
    steps = 5 + sizes.published * len(seconds)
    images = RandomImages(steps * (128 if device == "cuda" else 2), 1, 28, classes).images
    for workers in (0, 8) if device == "cuda" else (0,):
        each = published_recipe(device, images, classes, sizes.published, len(seconds), workers)
        against = f"published recipe, {workers} workers, extrapolated from {sizes.published} steps each"
        published = [one * count for one in each]
        record(Row(what, "s", seconds, published, against, at_least=20 if workers == 0 else 1))
