"""Operations that move pixels: however many there are, they become one affine map and one interpolation per sample.

Coordinates are pixels from the image's centre, x to the right and y downwards. A map leads from a place in the new
image to the place in the old one that is shown there, as in `scipy.ndimage.affine_transform` and in Keras, whose
`ImageDataGenerator` defines shear and zoom here. Maps are computed in float64 (float32 where a device has
none), so that a sample's map is the same whatever batch it stands in.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.data.augment.operation import Operation, symmetric

Padding = Literal["border", "zeros", "reflection"]


class Geometric(Operation):
    """An operation that is an affine map: x_old = linear · x_new + shift."""

    @abstractmethod
    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """One map per sample.

        Args:
            draws: (B, self.draws) uniform numbers in [0, 1).
            height: of the images, in pixels.
            width: of the images, in pixels.

        Returns:
            the linear part (B, 2, 2), or its diagonal (B, 2) where the rest is 0, and the shift (B, 2) in pixels, both
            for (x, y); None for the identity and for no shift.
        """


class Flip(Geometric):
    """Mirror an image, left to right and top to bottom, each with a probability of its own."""

    draws: ClassVar[int] = 2

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        self._check({"horizontal": (horizontal, 0, 1), "vertical": (vertical, 0, 1)})
        self.horizontal, self.vertical = horizontal, vertical

    def flipped(self, draws: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Which samples are flipped, horizontally and vertically: (B,) bool each; None where it never happens."""
        return (
            draws[:, 0] < self.horizontal if self.horizontal else None,
            draws[:, 1] < self.vertical if self.vertical else None,
        )

    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """The mirror as a map, for use together with others."""
        signs = torch.ones_like(draws)
        for axis, flipped in enumerate(self.flipped(draws)):
            if flipped is not None:
                signs[:, axis].masked_fill_(flipped, -1.0)
        return signs, None


class Rotation(Geometric):
    """Turn an image about its centre, by an angle uniform in [-degrees, degrees]."""

    draws: ClassVar[int] = 1

    def __init__(self, degrees: float) -> None:
        self._check({"degrees": (degrees, 0, 180)})
        self.degrees = degrees

    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """A positive angle turns the picture anticlockwise as seen on a screen, like `torch.rot90`."""
        angle = symmetric(draws[:, 0], math.radians(self.degrees))
        cosine, sine = angle.cos(), angle.sin()
        return torch.stack([cosine, -sine, sine, cosine], dim=-1).view(-1, 2, 2), None


class Shear(Geometric):
    """Keras' `shear_range`: an angle s, uniform in [-degrees, degrees] (degrees: 0.2 is next to nothing).

    With rows r and columns c, Keras maps r_old = r_new - sin(s) · c_new and c_old = cos(s) · c_new: columns slide
    along themselves, and the picture widens by 1 / cos(s).
    """

    draws: ClassVar[int] = 1

    def __init__(self, degrees: float) -> None:
        self._check({"degrees": (degrees, 0, 80)})
        self.degrees = degrees

    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """Keras' matrix, with x and y in our order."""
        angle = symmetric(draws[:, 0], math.radians(self.degrees))
        cosine, zero = angle.cos(), torch.zeros_like(angle)
        return torch.stack([cosine, zero, -angle.sin(), zero + 1], dim=-1).view(-1, 2, 2), None


class Zoom(Geometric):
    """Keras' `zoom_range`: factors uniform in [1 - range, 1 + range], one for the rows and another for the columns.

    The factor multiplies the coordinates that are looked up, so that one above 1 makes the picture smaller.
    """

    draws: ClassVar[int] = 2

    def __init__(self, range: float) -> None:
        self._check({"range": (range, 0, 0.95)})
        self.range = range

    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """Two independent factors, so that the aspect ratio changes too, as in Keras."""
        return symmetric(draws, self.range) + 1, None


class Translation(Geometric):
    """Move an image, by a share of its width and of its height uniform in [-fraction, fraction] each.

    Args:
        fraction: of the image's side.
        whole_pixels: round to whole pixels, which leaves small images as sharp as they were.
    """

    draws: ClassVar[int] = 2

    def __init__(self, fraction: float, whole_pixels: bool = False) -> None:
        self._check({"fraction": (fraction, 0, 1)})
        self.fraction, self.whole_pixels = fraction, whole_pixels

    def affine(self, draws: Tensor, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """A shift and no linear part."""
        shares = symmetric(draws, self.fraction)
        shift = torch.stack([shares[:, 0] * width, shares[:, 1] * height], dim=-1)
        return None, shift.round() if self.whole_pixels else shift


def compose(
    operations: Mapping[str, Geometric], draws: Mapping[str, Tensor], height: int, width: int
) -> tuple[Tensor | None, Tensor | None]:
    """All maps as one; the first operation is the first that is applied to the image.

    Each image is looked up in the one before it, down to the stored one, hence the first map comes last.

    Returns:
        the linear part (B, 2, 2) and the shift (B, 2) in pixels; None for the identity and for no shift.
    """
    linear: Tensor | None = None
    shift: Tensor | None = None
    for name, operation in operations.items():
        draw = draws[name] if draws[name].device.type == "mps" else draws[name].double()
        next_linear, next_shift = operation.affine(draw, height, width)
        if next_shift is not None:
            moved = next_shift if linear is None else _product(linear, next_shift[:, :, None])[..., 0]
            shift = moved if shift is None else shift + moved
        if next_linear is not None:
            linear = next_linear if linear is None else _product(linear, next_linear)
    return torch.diag_embed(linear) if linear is not None and linear.ndim == 2 else linear, shift


def _product(first: Tensor, second: Tensor) -> Tensor:
    """A matrix product per sample, where a matrix may be given by its diagonal: many small kernels are slow."""
    if first.ndim == 2:
        return first * second if second.ndim == 2 else first[:, :, None] * second
    return first * second[:, None, :] if second.ndim == 2 else first @ second


def lookup_places(linear: Tensor | None, shift: Tensor | None, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the pixels of the new images are looked up.

    A place is the sum of a part that only its column decides and one that only its row decides. As complex numbers
    these sums are one contiguous addition, a fifth of the time of `affine_grid`.

    Args:
        linear: (B, 2, 2), None for the identity.
        shift: (B, 2) in pixels, None for zero; at least one of the two is given.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        parts of the columns (B, width) and of the rows (B, height), complex64 in the units of `grid_sample`, for which
        half an image is one.
    """
    given = shift if linear is None else linear
    assert given is not None
    x, y, unit = _pixels(height, width, given.device, given.dtype)
    scaled = torch.diag_embed(unit.expand(len(given), 2)) if linear is None else linear * unit[:, None]
    columns, rows = (part.unsqueeze(1) for part in scaled.unbind(-1))
    rows = y * rows
    if shift is not None:
        rows = rows + (shift * unit).unsqueeze(1)
    return _as_complex(x * columns), _as_complex(rows)


def interpolate(images: Tensor, columns: Tensor, rows: Tensor, padding: Padding) -> Tensor:
    """Look every pixel of the new images up in the old ones, bilinearly.

    Args:
        images: (B, C, H, W) float32.
        columns: (B, W) complex64, from `lookup_places`.
        rows: (B, H) complex64, likewise.
        padding: what stands outside the image: its nearest pixel, zeros, or its mirror image.

    Returns:
        (B, C, H, W) float32.
    """
    grid = torch.view_as_real(columns.unsqueeze(1) + rows.unsqueeze(2))
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


@lru_cache(maxsize=16)
def _pixels(height: int, width: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Places of columns (W, 1) and of rows (H, 1) from the centre, and how long a pixel is in x and y, (2,)."""
    x = torch.arange(width, device=device, dtype=dtype) - (width - 1) / 2
    y = torch.arange(height, device=device, dtype=dtype) - (height - 1) / 2
    return x[:, None], y[:, None], torch.tensor([2 / width, 2 / height], device=device, dtype=dtype)


def _as_complex(points: Tensor) -> Tensor:
    """(B, N, 2) as (B, N) complex64."""
    return torch.view_as_complex(points.to(torch.float32, memory_format=torch.contiguous_format))
