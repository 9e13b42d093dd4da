"""Values against the formulas in numpy, and distributions against what the arguments say."""

import numpy as np
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.data.augment import Augment, Erasing, Intensity, Noise
from vesalius.data.stateless_random import uniform

INDEX = torch.arange(24)


def drawn(name: str, count: int) -> np.ndarray:
    return uniform(0, 0, INDEX, f"augment/{name}", count).double().numpy() * 2 - 1


@pytest.mark.parametrize(("dtype", "top"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_intensity_is_gamma_then_contrast_then_brightness(dtype: torch.dtype, top: int) -> None:
    images = torch.randint(0, top + 1, (24, 3, 10, 12)).to(dtype)
    changed = Augment({"intensity": Intensity(0.2, 0.4, 0.5)})(images, INDEX, seed=0, epoch=0)
    brightness, contrast, gamma = drawn("intensity", 3).T
    for row in range(24):
        values = (images[row].numpy().astype(float) / top) ** (1.5 ** gamma[row])
        values = (values - values.mean()) * (1 + 0.4 * contrast[row]) + values.mean() + 0.2 * brightness[row]
        np.testing.assert_allclose(changed[row].numpy() / top, np.clip(values, 0, 1), atol=1e-5)


def test_gamma_of_values_below_zero_is_a_number() -> None:
    images = torch.linspace(-1, 2, 24 * 64).view(24, 1, 8, 8)
    changed = Augment({"intensity": Intensity(gamma=0.5)})(images, INDEX, seed=0, epoch=0)
    assert changed.min() == 0
    assert changed.max() == 1


def test_contrast_of_a_large_image_does_not_depend_on_its_batch() -> None:
    # Large enough for torch to share one image's sum among threads, which rounds otherwise than one thread does.
    images = torch.rand(4, 3, 256, 256)
    augment = Augment({"intensity": Intensity(contrast=0.5)})
    whole = augment(images, INDEX[:4], seed=0, epoch=0)
    for row in range(4):
        assert torch.equal(augment(images[row : row + 1], INDEX[row : row + 1], seed=0, epoch=0)[0], whole[row])


def test_strength_zero_is_the_identity() -> None:
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8)
    still = {"intensity": Intensity(), "noise": Noise(0), "erasing": Erasing(0.0)}
    assert torch.equal(Augment(still)(images, INDEX, seed=0, epoch=0), images.float())


def test_noise_has_the_strength_drawn_for_its_sample() -> None:
    images = torch.full((24, 1, 100, 100), 0.5)
    noise = Augment({"noise": Noise(0.1)})(images, INDEX, seed=0, epoch=0) - 0.5
    expected = 0.1 * (drawn("noise", 1)[:, 0] + 1) / 2
    np.testing.assert_allclose(noise.flatten(1).std(1).numpy(), expected, rtol=0.04)
    standard = noise.flatten(1) / noise.flatten(1).std(1, keepdim=True)
    # Independent of the neighbouring pixel, and of the same pixel in another sample.
    assert abs(float((standard[:, 1:] * standard[:, :-1]).mean())) < 0.01
    assert abs(float((standard[1:] * standard[:-1]).mean())) < 0.01


def test_erasing_blanks_one_rectangle_of_the_asked_size() -> None:
    index = torch.arange(400)
    images = torch.full((400, 2, 40, 60), 200, dtype=torch.uint8)
    changed = Augment({"erasing": Erasing(0.5, area=(0.05, 0.2), fill=1.0)})(images, index, seed=0, epoch=0)
    erased = changed == 255
    assert torch.equal(erased | (changed == 200), torch.ones_like(erased))
    assert torch.equal(erased[:, 0], erased[:, 1])
    erased = erased[:, 0]
    chosen = erased.flatten(1).any(1)
    assert abs(float(chosen.float().mean()) - 0.5) < 4 * 0.5 / 400**0.5
    heights, widths = erased[chosen].any(2).sum(1), erased[chosen].any(1).sum(1)
    areas = erased[chosen].flatten(1).sum(1)
    assert torch.equal(areas, heights * widths)  # a full rectangle
    shares = areas / (40 * 60)
    # Up to the rounding of the sides, and a side that the image cuts short.
    assert shares.min() > 0.03
    assert shares.max() < 0.23
    assert shares.max() - shares.min() > 0.12
    covered = erased[chosen].any(0)
    assert covered.any(0).all()  # up to every border
    assert covered.any(1).all()


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Intensity(brightness=2, contrast=-1), ["brightness=2", "contrast=-1"]),
        (lambda: Noise(std=-0.1), ["std=-0.1"]),
        (lambda: Erasing(probability=2, fill=-1), ["probability=2", "fill=-1"]),
        (lambda: Erasing(area=[0.5]), ["area=[0.5]"]),
        (lambda: Erasing(area=[0.1, 3]), ["area[1]=3"]),
        (lambda: Erasing(area=[0.3, 0.1]), ["area=[0.3, 0.1]"]),
    ],
)
def test_arguments_out_of_range_are_refused(build, named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert [name in problem for name, problem in zip(named, caught.value.problems, strict=True)] == [True] * len(named)
