"""Promises of `Augment` as a whole: draws, batches, values, and the shipped configs."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.data.augment import Augment, Erasing, Flip, Intensity, Noise, Rotation, Shear, Translation, Zoom
from vesalius.data.augment import augment as augment_module

CONFIGS = sorted((Path(__file__).parents[3] / "conf" / "data" / "augment").glob("*.yaml"))
INDEX = torch.arange(40, 56)


def everything() -> Augment:
    return Augment(
        {
            "flip": Flip(0.5, 0.5),
            "rotation": Rotation(30),
            "shear": Shear(10),
            "zoom": Zoom(0.2),
            "translation": Translation(0.1),
            "intensity": Intensity(0.3, 0.3, 0.3),
            "noise": Noise(0.2),
            "erasing": Erasing(0.5),
        }
    )


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (16, 3, 20, 24), dtype=torch.uint8, generator=generator)


def test_without_operations_the_input_comes_back(images: Tensor) -> None:
    assert Augment()(images, INDEX, seed=0, epoch=0) is images
    assert Augment({"flip": None})(images, INDEX, seed=0, epoch=0) is images


def test_none_switches_an_entry_off(images: Tensor) -> None:
    without = Augment({"flip": Flip()})(images, INDEX, seed=0, epoch=0)
    assert torch.equal(Augment({"flip": Flip(), "noise": None})(images, INDEX, seed=0, epoch=0), without)


def test_each_sample_has_its_own_draw(images: Tensor) -> None:
    same = images[:1].expand(16, -1, -1, -1)
    changed = everything()(same, INDEX, seed=0, epoch=0)
    assert len({image.numpy().tobytes() for image in changed}) == 16


def test_epochs_and_seeds_differ_and_calls_do_not(images: Tensor) -> None:
    augment = everything()
    first = augment(images, INDEX, seed=0, epoch=0)
    assert torch.equal(first, everything()(images, INDEX, seed=0, epoch=0))
    for seed, epoch in [(0, 1), (1, 0)]:
        other = augment(images, INDEX, seed=seed, epoch=epoch)
        assert all(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_sample_does_not_depend_on_its_batch(images: Tensor) -> None:
    augment = everything()
    whole = augment(images, INDEX, seed=0, epoch=3)
    order = torch.randperm(16)
    assert torch.equal(augment(images[order], INDEX[order], seed=0, epoch=3), whole[order])
    for row in range(16):
        assert torch.equal(augment(images[row : row + 1], INDEX[row : row + 1], seed=0, epoch=3)[0], whole[row])


def test_parts_of_a_batch_change_nothing(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = everything()(images, INDEX, seed=0, epoch=3)
    monkeypatch.setattr(augment_module, "CACHED_VALUES", 5 * images[0].numel())
    assert torch.equal(everything()(images, INDEX, seed=0, epoch=3), whole)


@pytest.mark.slow
def test_another_process_draws_the_same() -> None:
    program = (
        "import hashlib, torch\n"
        "from vesalius.data.augment import Augment, Flip, Rotation\n"
        "images = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)\n"
        "augment = Augment({'flip': Flip(), 'rotation': Rotation(90)})\n"
        "result = augment(images, torch.tensor([4, 9]), seed=1, epoch=2)\n"
        "digest = hashlib.sha256(result.numpy().tobytes()).hexdigest()\n"
    )
    here: dict[str, str] = {}
    exec(program, here)
    there = subprocess.run(
        [sys.executable, "-c", program + "print(digest)"], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here["digest"]
    assert len(here["digest"]) == len(hashlib.sha256().hexdigest())


def test_another_operation_does_not_change_the_draws_of_the_first(images: Tensor) -> None:
    flips = Augment({"flip": Flip()})(images, INDEX, seed=0, epoch=0)
    bright = Augment({"intensity": Intensity(), "flip": Flip()})(images, INDEX, seed=0, epoch=0)
    assert torch.equal(bright, flips)


@pytest.mark.parametrize(("dtype", "top"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_integer_images_keep_their_range_and_their_units(dtype: torch.dtype, top: int) -> None:
    images = torch.randint(0, top + 1, (16, 1, 20, 20)).to(dtype)
    strong = everything()
    strong.operations["intensity"].brightness = 1.0  # pushes nearly every pixel out at one end
    changed = strong(images, INDEX, seed=0, epoch=0)
    assert changed.dtype == torch.float32
    assert changed.min() == 0
    assert changed.max() == top


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_interpolation_never_overshoots(padding: str) -> None:
    white = torch.full((16, 1, 33, 47), 255, dtype=torch.uint8)
    geometric = Augment({"rotation": Rotation(180), "zoom": Zoom(0.3)}, padding=padding)
    changed = geometric(white, INDEX, seed=0, epoch=0)
    assert changed.max() <= 255
    assert changed.min() == (0 if padding == "zeros" else pytest.approx(255, abs=1e-3))


def test_float_images_are_cut_only_where_the_range_is_given() -> None:
    images = torch.rand(16, 1, 8, 8) * 4 - 2
    assert Augment({"flip": Flip()})(images, INDEX, seed=0, epoch=0).abs().max() > 1.5
    ranged = Augment({"flip": Flip()}, value_max=1.5)(images, INDEX, seed=0, epoch=0)
    assert ranged.min() == 0
    assert ranged.max() == 1.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_input_does_not_change(images: Tensor, dtype: torch.dtype) -> None:
    images = images.to(dtype)
    before = images.clone()
    Augment({"intensity": Intensity(0.3), "erasing": Erasing(1.0)})(images, INDEX, seed=0, epoch=0)
    assert torch.equal(images, before)


def test_memory_format_changes_nothing(images: Tensor) -> None:
    plain = everything()(images, INDEX, seed=0, epoch=0)
    last = everything()(images.contiguous(memory_format=torch.channels_last), INDEX, seed=0, epoch=0)
    assert torch.equal(plain, last)


def test_frames_of_a_series_move_alike(images: Tensor) -> None:
    series = images[:, None].expand(-1, 5, -1, -1, -1)
    geometric = Augment({"flip": Flip(), "rotation": Rotation(20), "erasing": Erasing(1.0)})
    moved = geometric(series, INDEX, seed=0, epoch=0)
    assert moved.shape == series.shape
    single = geometric(images, INDEX, seed=0, epoch=0)
    for frame in moved.unbind(1):
        torch.testing.assert_close(frame, single)
    noisy = Augment({"noise": Noise(0.1)})(series, INDEX, seed=0, epoch=0)
    assert not torch.equal(noisy[:, 0], noisy[:, 1])


def test_an_empty_batch_is_no_error() -> None:
    assert everything()(torch.empty(0, 1, 8, 8), INDEX[:0], seed=0, epoch=0).shape == (0, 1, 8, 8)


def test_an_unknown_value_range_is_refused() -> None:
    images = torch.zeros(2, 1, 8, 8, dtype=torch.int16)
    with pytest.raises(InputError, match=r"int16.*augment\.value_max"):
        Augment({"flip": Flip()})(images, INDEX[:2], seed=0, epoch=0)
    Augment({"flip": Flip()}, value_max=4095)(images, INDEX[:2], seed=0, epoch=0)


def test_all_bad_arguments_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Augment({"flip": "yes", "zoom": 3}, value_max=0)
    named = ["operations.flip", "operations.zoom", "value_max=0"]
    assert len(caught.value.problems) == 3
    assert all(name in problem for name, problem in zip(named, caught.value.problems, strict=True))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_build_and_run(path: Path, images: Tensor) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    augment = instantiate(yaml.safe_load(text), _convert_="all")
    changed = augment(images, INDEX, seed=0, epoch=0)
    assert changed.shape == images.shape
    assert torch.equal(changed, images) == (path.stem == "none")


def test_shipped_configs_are_the_promised_ones() -> None:
    assert [path.stem for path in CONFIGS] == ["article", "light", "none", "standard", "strong"]
