"""Soft-edged shapes on a grey image: the brush strokes of the phantoms.

Lengths are in half images: the image spans -1 to 1 in x (rightwards) and in y (downwards), whatever its size in
pixels, so that one description of a body draws at every resolution. Edges are as soft as a scanner's point spread,
about a pixel and a half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float32]
Point = tuple[float, float]

EDGE_PIXELS = 1.5
"""Width of the ramp from inside to outside of a shape."""


@dataclass(frozen=True)
class Canvas:
    """Coordinates of every pixel.

    Attributes:
        x: (H, W), in half images.
        y: (H, W), in half images.
        pixel: side of a pixel, in half images.
    """

    x: Field
    y: Field
    pixel: float

    @classmethod
    def square(cls, size: int) -> "Canvas":
        """The plain coordinates of an image of `size` x `size` pixels."""
        axis = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
        x, y = np.broadcast_arrays(axis[None, :], axis[:, None])
        return cls(x, y, 2 / size)

    def moved(self, shift: Point, angle: float) -> "Canvas":
        """Coordinates in a body that lies shifted and turned (radians) in the image."""
        x, y = self.x - np.float32(shift[0]), self.y - np.float32(shift[1])
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return Canvas(cosine * x + sine * y, cosine * y - sine * x, self.pixel)


def coverage(canvas: Canvas, depth: Field, softness: float = 0.0) -> Field:
    """How much of each pixel a shape covers (0 to 1).

    Args:
        canvas: where it is drawn.
        depth: distance of each pixel inside the shape's outline (negative outside), in half images.
        softness: width of an edge that is itself blurred, in half images, on top of the scanner's.
    """
    ramp = EDGE_PIXELS * canvas.pixel + softness
    alpha = depth * np.float32(1 / ramp)
    alpha += np.float32(0.5)
    return np.clip(alpha, 0, 1, out=alpha)


def ellipse(canvas: Canvas, centre: Point, axes: Point, angle: float = 0.0, softness: float = 0.0) -> Field:
    """Coverage by a filled ellipse of semi-axes `axes`, the first turned by `angle` (radians) from the x axis."""
    return coverage(canvas, ellipse_depth(canvas, centre, axes, angle), softness)


def ellipse_depth(canvas: Canvas, centre: Point, axes: Point, angle: float = 0.0) -> Field:
    """Distance inside an ellipse's outline; exact for a circle, and along the shorter axis."""
    x, y = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
    if angle:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y = cosine * x + sine * y, cosine * y - sine * x
    x *= np.float32(1 / axes[0])
    y *= np.float32(1 / axes[1])
    distance = np.sqrt(x * x + y * y)
    depth: Field = (np.float32(1) - distance) * np.float32(min(axes))
    return depth


def capsule(canvas: Canvas, start: Point, end: Point, radii: Point) -> Field:
    """Coverage by a tube from `start` to `end` whose radius runs from the first to the second of `radii`.

    A tube thinner than a pixel keeps its width on average: it becomes fainter.
    """
    along_x, along_y = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    x, y = canvas.x - np.float32(start[0]), canvas.y - np.float32(start[1])
    squared = max(float(along_x * along_x + along_y * along_y), 1e-12)
    position = (x * along_x + y * along_y) * np.float32(1 / squared)
    np.clip(position, 0, 1, out=position)
    x -= position * along_x
    y -= position * along_y
    radius = np.float32(radii[0]) + position * np.float32(radii[1] - radii[0])
    return coverage(canvas, radius - np.sqrt(x * x + y * y))


def blob(canvas: Canvas, centre: Point, width: float) -> Field:
    """A Gaussian hill of height 1 and standard deviation `width`."""
    x, y = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
    return np.exp((x * x + y * y) * np.float32(-0.5 / width**2))


def paint(image: Field, alpha: Field, level: float | Field) -> None:
    """Lay a colour over `image`, in place: all of it where `alpha` is 1, none where it is 0."""
    image += alpha * (np.asarray(level, dtype=np.float32) - image)


def texture(generator: np.random.Generator, size: int, correlation: float) -> Field:
    """A random field of mean 0 and standard deviation 1 whose neighbours agree over `correlation` half images."""
    white = generator.standard_normal((size, size), dtype=np.float32)
    field: Field = gaussian_filter(white, correlation * size / 2, mode="wrap")
    field -= field.mean()
    field /= field.std()
    return field
