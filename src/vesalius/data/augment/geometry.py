"""Operations that move pixels: however many there are, they become one affine map and one interpolation a sample.

Coordinates are pixels from the image's centre, x to the right and y downwards. A map leads from a place in the new
image to the place in the old one that is shown there, as in `scipy.ndimage.affine_transform` and in Keras, whose
`ImageDataGenerator` fixes the meaning of shear and zoom here. Maps are made in float64 (float32 where a device has
none), so that a sample's map is the same whatever batch it stands in.
"""

import math
from abc import abstractmethod
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
        """One map a sample.

        Args:
            draws: (B, self.draws) uniform numbers in [0, 1).
            height: of the images, in pixels.
            width: of the images, in pixels.

        Returns:
            the linear part (B, 2, 2) and the shift (B, 2) in pixels, both for (x, y); None where the map has none.
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
        return torch.diag_embed(signs), None


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
        return torch.diag_embed(symmetric(draws, self.range) + 1), None


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
    operations: dict[str, Geometric], draws: dict[str, Tensor], height: int, width: int
) -> tuple[Tensor | None, Tensor | None]:
    """All maps as one; the first operation is the first that is done to the image.

    The newest image looks up in the one before it, and so on down to the stored one, hence the first map comes last.
    """
    linear: Tensor | None = None
    shift: Tensor | None = None
    for name, operation in operations.items():
        draw = draws[name] if draws[name].device.type == "mps" else draws[name].double()
        next_linear, next_shift = operation.affine(draw, height, width)
        if next_shift is not None:
            moved = next_shift if linear is None else (linear @ next_shift[:, :, None])[:, :, 0]
            shift = moved if shift is None else shift + moved
        if next_linear is not None:
            linear = next_linear if linear is None else linear @ next_linear
    return linear, shift


def resample(images: Tensor, linear: Tensor | None, shift: Tensor | None, padding: Padding) -> Tensor:
    """Look every pixel of the new images up in the old ones, bilinearly.

    Args:
        images: (B, C, H, W) float32.
        linear: (B, 2, 2), None for the identity.
        shift: (B, 2) in pixels, None for zero.
        padding: what stands outside the image: its nearest pixel, zeros, or its mirror image.

    Returns:
        (B, C, H, W) float32.
    """
    if linear is None and shift is None:
        return images
    height, width = images.shape[-2:]
    # Half an image is one unit for grid_sample.
    unit_x, unit_y = 2 / width, 2 / height
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    if linear is None:
        zero_x, zero_y = torch.zeros_like(x), torch.zeros_like(y)
        columns, rows = torch.stack([x, zero_x], dim=-1)[None], torch.stack([zero_y, y], dim=-1)[None]
    else:
        columns, rows = x[:, None] * linear[:, None, :, 0], y[:, None] * linear[:, None, :, 1]
    if shift is not None:
        rows = rows + shift[:, None]
    # A place is the sum of a part that only its column decides and one that only its row decides. As complex numbers
    # these sums are one contiguous addition, a fifth of the time of `affine_grid`.
    grid = _as_complex(columns, unit_x, unit_y)[:, None, :] + _as_complex(rows, unit_x, unit_y)[:, :, None]
    return F.grid_sample(images, torch.view_as_real(grid), mode="bilinear", padding_mode=padding, align_corners=False)


def _as_complex(points: Tensor, unit_x: float, unit_y: float) -> Tensor:
    """(B, N, 2) pixels as (B, N) complex64 in the units of `grid_sample`."""
    return torch.complex((points[..., 0] * unit_x).float(), (points[..., 1] * unit_y).float())
