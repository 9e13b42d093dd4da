"""Three focal findings of a solid organ, as contrast-enhanced CT shows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.data.phantoms.anatomy import Anatomy, anywhere
from vesalius.data.phantoms.drawing import Canvas, Field, Point, capsule, ellipse

CLASSES = ("healthy", "nodule", "cyst", "spiculated")


@dataclass(frozen=True)
class FindingParameters:
    """How much findings differ; lengths in half images, contrasts in grey values.

    Attributes:
        radius: range of the radius in the middle slice.
        flattening: range of the ratio of the semi-axes.
        contrast: range of the grey values by which a nodule is brighter, and a cyst darker, than its organ.
        rim: grey values of a cyst's wall over its organ.
        rim_width: thickness of the wall.
        spikes: range of their number.
        spike_reach: range of their length, in radii from the centre.
        spike_width: radius of a spike where it leaves the core.
        core: radius of a spiculated core, relative to a nodule's.
        depth: height at which a finding would end; it shrinks towards there as a ball does.
    """

    radius: tuple[float, float] = (0.115, 0.17)
    flattening: tuple[float, float] = (0.85, 1.18)
    contrast: tuple[float, float] = (40.0, 58.0)
    rim: float = 26.0
    rim_width: float = 0.035
    spikes: tuple[int, int] = (7, 10)
    spike_reach: tuple[float, float] = (1.45, 1.95)
    spike_width: float = 0.045
    core: float = 0.62
    depth: float = 1.5


@dataclass(frozen=True)
class Finding:
    """One patient's finding, drawn whether or not the patient has it: where it would be and how it would look.

    Attributes:
        centre: in the unbent anatomy.
        radius: in the middle slice.
        flattening: ratio of the semi-axes.
        angle: of the first semi-axis, in radians.
        contrast: grey values, above 0.
        spikes: angle and reach (in radii) of each.
    """

    centre: Point
    radius: float
    flattening: float
    angle: float
    contrast: float
    spikes: Sequence[tuple[float, float]]


def draw_finding(generator: np.random.Generator, anatomy: Anatomy, parameters: FindingParameters) -> Finding:
    """A finding somewhere inside liver or spleen, well away from the edge."""
    radius = float(generator.uniform(*parameters.radius))
    organ = anatomy.organs["spleen" if generator.random() < 0.2 else "liver"]
    count = int(generator.integers(parameters.spikes[0], parameters.spikes[1] + 1))
    start = 2 * math.pi * generator.random()
    turns = [2 * math.pi * (number + 0.5 * generator.random()) / count for number in range(count)]
    return Finding(
        centre=anywhere(generator, organ, 1.15 * radius),
        radius=radius,
        flattening=float(generator.uniform(*parameters.flattening)),
        angle=math.pi * generator.random(),
        contrast=float(generator.uniform(*parameters.contrast)),
        spikes=[(start + turn, float(generator.uniform(*parameters.spike_reach))) for turn in turns],
    )


def paint_finding(
    image: Field, canvas: Canvas, finding: Finding, label: str, height: float, parameters: FindingParameters
) -> Field:
    """Add a finding to a section, in place.

    Args:
        image: (H, W) grey values.
        canvas: unbent coordinates of the pixels.
        finding: of this patient.
        label: one of `CLASSES`.
        height: of the section.
        parameters: of the phantom.

    Returns:
        (H, W) how much of each pixel the finding covers, 0 to 1; nothing for `healthy`.
    """
    if label == "healthy":
        return np.zeros_like(image)
    radius = finding.radius * math.sqrt(max(0.1, 1 - (height / parameters.depth) ** 2))
    covered = _disc(canvas, finding, radius)
    if label == "nodule":
        image += np.float32(finding.contrast) * covered
    elif label == "cyst":
        inner = _disc(canvas, finding, radius - parameters.rim_width)
        image += np.float32(parameters.rim) * (covered - inner) - np.float32(finding.contrast) * inner
    else:
        covered = _disc(canvas, finding, parameters.core * radius)
        for angle, reach in finding.spikes:
            x, y = finding.centre
            tip = (x + reach * radius * math.cos(angle), y + reach * radius * math.sin(angle))
            np.maximum(covered, capsule(canvas, finding.centre, tip, (parameters.spike_width, 0.012)), out=covered)
        image += np.float32(finding.contrast) * covered
    return covered


def _disc(canvas: Canvas, finding: Finding, radius: float) -> Field:
    stretch = math.sqrt(finding.flattening)
    return ellipse(canvas, finding.centre, (radius * stretch, radius / stretch), finding.angle)
