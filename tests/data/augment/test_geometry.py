"""Geometry against other people's: torch's flips, rot90 and roll, and Keras' matrices applied by scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.data.augment import Augment, Flip, Rotation, Shear, Translation, Zoom
from vesalius.data.augment.geometry import interpolate, lookup_places
from vesalius.data.stateless_random import uniform

INDEX = torch.arange(32)


def keras_matrix(theta: float = 0, tx: float = 0, ty: float = 0, shear: float = 0, zx: float = 1, zy: float = 1):
    """Keras' `apply_affine_transform`: (row, column) of the new image -> of the old: rotation, shift, shear, zoom."""
    rotation = [[math.cos(theta), -math.sin(theta), 0], [math.sin(theta), math.cos(theta), 0], [0, 0, 1]]
    shift = [[1, 0, tx], [0, 1, ty], [0, 0, 1]]
    sheared = [[1, -math.sin(shear), 0], [0, math.cos(shear), 0], [0, 0, 1]]
    zoom = [[zx, 0, 0], [0, zy, 0], [0, 0, 1]]
    return np.linalg.multi_dot([np.array(matrix, dtype=float) for matrix in (rotation, shift, sheared, zoom)])


def keras(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a matrix about the centre, bilinearly, the border repeated, as Keras does with scipy."""
    centre = (np.array(image.shape) - 1) / 2
    linear, shift = matrix[:2, :2], matrix[:2, 2]
    return ndimage.affine_transform(image, linear, centre + shift - linear @ centre, order=1, mode="nearest")


def drawn(name: str, count: int) -> np.ndarray:
    """The draws of an entry, stretched to [-1, 1)."""
    return uniform(0, 0, INDEX, f"augment/{name}", count).double().numpy() * 2 - 1


def test_rotation_shift_shear_and_zoom_are_those_of_keras() -> None:
    images = torch.rand(32, 1, 21, 30)
    augment = Augment(
        {
            "rotation": Rotation(40),
            "translation": Translation(0.1),
            "shear": Shear(20),
            "zoom": Zoom(0.2),
        }
    )
    changed = augment(images, INDEX, seed=0, epoch=0)
    theta, shear = np.radians(40) * drawn("rotation", 1)[:, 0], np.radians(20) * drawn("shear", 1)[:, 0]
    move, zoom = 0.1 * drawn("translation", 2), 1 + 0.2 * drawn("zoom", 2)
    for row in range(32):
        # Keras' x is the row, ours the column, which also turns the sense of a rotation.
        matrix = keras_matrix(-theta[row], move[row, 1] * 21, move[row, 0] * 30, shear[row], zoom[row, 1], zoom[row, 0])
        expected = keras(images[row, 0].numpy(), matrix)
        np.testing.assert_allclose(changed[row, 0].numpy(), expected, atol=2e-4)


def test_article_shear_stays_below_a_pixel() -> None:
    # 0.2 degrees: the reason why the article's shear does next to nothing at 224 pixels.
    linear, _ = Shear(0.2).affine(torch.tensor([[0.0], [1.0]], dtype=torch.float64), 224, 224)
    assert linear is not None
    corner = torch.tensor([111.5, 111.5], dtype=torch.float64)
    assert (linear @ corner - corner).abs().max() < 0.4


@pytest.mark.parametrize(("draw", "turns"), [(1.0, 1), (0.0, -1)])
def test_a_quarter_turn_is_rot90(draw: float, turns: int) -> None:
    images = torch.rand(2, 3, 17, 17)
    linear, shift = Rotation(90).affine(torch.full((2, 1), draw, dtype=torch.float64), 17, 17)
    turned = interpolate(images, *lookup_places(linear, shift, 17, 17), "border")
    torch.testing.assert_close(turned, torch.rot90(images, turns, (-2, -1)), atol=1e-5, rtol=0)


def test_strength_zero_is_the_identity() -> None:
    images = torch.rand(32, 2, 19, 26)
    still = {"rotation": Rotation(0), "shear": Shear(0), "zoom": Zoom(0), "translation": Translation(0)}
    changed = Augment(still)(images, INDEX, seed=0, epoch=0)
    torch.testing.assert_close(changed, images, atol=1e-4, rtol=0)


def test_translation_by_whole_pixels_is_a_roll_inside() -> None:
    images = torch.rand(1, 1, 16, 20)
    # Looking 3 pixels to the right and 2 up moves the picture 3 to the left and 2 down.
    shift = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    moved = interpolate(images, *lookup_places(None, shift, 16, 20), "border")
    expected = images.roll((2, -3), (-2, -1))
    torch.testing.assert_close(moved[..., 2:, :-3], expected[..., 2:, :-3], atol=1e-5, rtol=0)
    # Beyond the border its nearest pixel stands.
    torch.testing.assert_close(moved[..., 0, :-3], images[..., 0, 3:], atol=1e-5, rtol=0)


def test_whole_pixel_translation_only_moves_values() -> None:
    images = torch.randint(0, 256, (32, 1, 16, 16), dtype=torch.uint8)
    moved = Augment({"translation": Translation(0.2, whole_pixels=True)})(images, INDEX, seed=0, epoch=0)
    torch.testing.assert_close(moved, moved.round(), atol=1e-2, rtol=0)
    shares = 0.2 * drawn("translation", 2)
    shifts = np.round(shares * 16).astype(int)
    assert np.abs(shifts).max() == 3
    for row, (x, y) in enumerate(shifts):
        rows = np.clip(np.arange(16) + y, 0, 15)
        columns = np.clip(np.arange(16) + x, 0, 15)
        np.testing.assert_allclose(moved[row, 0].numpy(), images[row, 0].numpy()[np.ix_(rows, columns)], atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_flips_alone_are_exact(dtype: torch.dtype) -> None:
    images = (torch.rand(32, 3, 9, 14) * 200).to(dtype)
    flipped = Augment({"flip": Flip(horizontal=0.5, vertical=0.3)})(images, INDEX, seed=0, epoch=0)
    draws = uniform(0, 0, INDEX, "augment/flip", 2)
    seen = set()
    for row, (horizontal, vertical) in enumerate(draws.tolist()):
        axes = [axis for axis, happens in ((-1, horizontal < 0.5), (-2, vertical < 0.3)) if happens]
        seen.add(tuple(axes))
        assert torch.equal(flipped[row], images[row].to(torch.float32).flip(axes))
    assert len(seen) == 4


def test_flips_with_other_operations_are_the_same_flips() -> None:
    images = torch.rand(32, 1, 12, 12)
    exact = Augment({"flip": Flip(0.5, 0.5)})(images, INDEX, seed=0, epoch=0)
    composed = Augment({"flip": Flip(0.5, 0.5), "zoom": Zoom(0)})(images, INDEX, seed=0, epoch=0)
    torch.testing.assert_close(exact, composed, atol=1e-4, rtol=0)


def test_flips_are_as_frequent_as_asked() -> None:
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(5_000, 1, 1, 2)
    flipped = Augment({"flip": Flip(horizontal=0.2)})(images, torch.arange(5_000), seed=0, epoch=0)
    assert abs(float(flipped[:, 0, 0, 0].mean()) - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 5_000)


@pytest.mark.parametrize("first", ["rotation", "translation"])
def test_the_order_of_entries_is_the_order_of_operations(first: str) -> None:
    operations = {"rotation": Rotation(90), "translation": Translation(0.3)}
    ordered = {first: operations[first], **operations}
    # Smooth, so that two interpolations in a row hardly differ from one.
    y, x = torch.meshgrid(torch.linspace(-2, 2, 65), torch.linspace(-2, 2, 65), indexing="ij")
    images = torch.exp(-((x - 0.2) ** 2) - 2 * (y + 0.1) ** 2).expand(32, 1, 65, 65).contiguous()
    at_once = Augment(ordered)(images, INDEX, seed=0, epoch=0)
    one_by_one = images
    for name, operation in ordered.items():
        one_by_one = Augment({name: operation})(one_by_one, INDEX, seed=0, epoch=0)
    inner = (slice(None), slice(None), slice(25, 40), slice(25, 40))
    assert _distance(at_once[inner], one_by_one[inner]) < 2e-2
    other = Augment(dict(reversed(ordered.items())))(images, INDEX, seed=0, epoch=0)
    assert _distance(at_once[inner], other[inner]) > 0.1


def _distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Flip(horizontal=1.5, vertical=-1), ["horizontal=1.5", "vertical=-1"]),
        (lambda: Rotation(float("nan")), ["degrees=nan"]),
        (lambda: Shear(90), ["degrees=90"]),
        (lambda: Zoom(1.2), ["range=1.2"]),
        (lambda: Zoom("0.2"), ["range='0.2'"]),
        (lambda: Translation(-0.1), ["fraction=-0.1"]),
    ],
)
def test_arguments_out_of_range_are_refused(build, named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert [name in problem for name, problem in zip(named, caught.value.problems, strict=True)] == [True] * len(named)
