"""Draws one axial section of an anatomy: from the table below the patient to the vessels of the liver."""

import math

import numpy as np

from vesalius.data.phantoms.anatomy import Anatomy, Organ
from vesalius.data.phantoms.drawing import (
    Canvas,
    Field,
    Point,
    blob,
    capsule,
    coverage,
    ellipse,
    ellipse_depth,
    paint,
)


def body_canvas(canvas: Canvas, anatomy: Anatomy, breath: Point) -> Canvas:
    """Body coordinates of every pixel, for a patient who lies as drawn and has breathed by `breath`."""
    return canvas.moved((anatomy.shift[0] + breath[0], anatomy.shift[1] + breath[1]), anatomy.angle)


def draw_section(body: Canvas, anatomy: Anatomy, height: float, structure: Field) -> Field:
    """The noiseless section without any lesion.

    Args:
        body: body coordinates of the pixels.
        anatomy: the patient.
        height: of the section, from -1 to 1 over the span of the slices.
        structure: (H, W) grey values of the tissue's own texture, added wherever there is tissue.

    Returns:
        (H, W) grey values, about 0 to 255, not yet rounded.
    """
    dx, dy = anatomy.bend(body.x, body.y)
    canvas = Canvas(body.x + dx, body.y + dy, body.pixel)
    image = np.full(body.x.shape, anatomy.levels["air"], dtype=np.float32)
    _table(image, body, anatomy)
    trunk, cavity = _trunk(image, canvas, anatomy)
    _ribs(image, canvas, anatomy, height)
    _spine(image, canvas, anatomy)
    _kidneys(image, canvas, anatomy, height)
    _middle(image, canvas, anatomy, height)
    _stomach(image, canvas, anatomy, height, cavity)
    _solid(image, canvas, anatomy, height, cavity)
    image += trunk * structure
    return image


def _organ(canvas: Canvas, organ: Organ, height: float, scale: float = 1.0) -> Field:
    size = scale * (1 + organ.growth * height)
    return ellipse(canvas, organ.centre, (organ.axes[0] * size, organ.axes[1] * size), organ.angle)


def _table(image: Field, body: Canvas, anatomy: Anatomy) -> None:
    """The couch: a thin curved shell under the patient's back."""
    distance = np.sqrt(body.x**2 + (body.y + np.float32(1.55)) ** 2)
    shell = np.float32(0.012) - np.abs(distance - np.float32(1.55 + anatomy.trunk[1] + 0.1))
    paint(image, coverage(body, shell), anatomy.levels["table"])


def _trunk(image: Field, canvas: Canvas, anatomy: Anatomy) -> tuple[Field, Field]:
    """Skin, fat, muscle and the fat of the cavity; returns the coverage of the trunk and of the cavity."""
    levels, (fat, muscle) = anatomy.levels, anatomy.layers
    depth = ellipse_depth(canvas, (0.0, 0.0), anatomy.trunk)
    trunk = coverage(canvas, depth)
    paint(image, trunk, levels["skin"])
    paint(image, coverage(canvas, depth - np.float32(0.02)), levels["fat"])
    paint(image, coverage(canvas, depth - np.float32(0.02 + fat)), levels["muscle"])
    cavity = coverage(canvas, depth - np.float32(0.02 + fat + muscle))
    paint(image, cavity, levels["fat"])
    return trunk, cavity


def _ribs(image: Field, canvas: Canvas, anatomy: Anatomy, height: float) -> None:
    depth = 0.02 + anatomy.layers[0] + 0.5 * anatomy.layers[1]
    # the wall at depth d lies on the ellipse scaled by 1 - d / b, as `ellipse_depth` measures along the short axis
    scale = 1 - depth / min(anatomy.trunk)
    a, b = anatomy.trunk[0] * scale, anatomy.trunk[1] * scale
    for place, length, thickness in anatomy.ribs:
        angle = place + 0.05 * height
        centre = (a * math.cos(angle), b * math.sin(angle))
        tangent = math.atan2(b * math.cos(angle), -a * math.sin(angle))
        paint(image, ellipse(canvas, centre, (length, thickness), tangent), anatomy.levels["bone"])


def _spine(image: Field, canvas: Canvas, anatomy: Anatomy) -> None:
    """Muscles of the back and psoas, vertebra with its canal and processes."""
    levels, vertebra = anatomy.levels, anatomy.organs["vertebra"]
    x, y = vertebra.centre
    for side in (-1, 1):
        paint(image, ellipse(canvas, (x + 0.20 * side, y + 0.16), (0.19, 0.10), 0.35 * -side), levels["muscle"])
        paint(image, ellipse(canvas, (x + 0.19 * side, y + 0.02), (0.07, 0.09)), levels["muscle"])
        paint(image, capsule(canvas, (x, y + 0.13), (x + 0.22 * side, y + 0.13), (0.03, 0.018)), levels["bone"])
    paint(image, ellipse(canvas, (x, y + 0.13), (0.105, 0.085)), levels["bone"])
    paint(image, capsule(canvas, (x, y + 0.16), (x, y + 0.26), (0.035, 0.02)), levels["bone"])
    paint(image, ellipse(canvas, (x, y), vertebra.axes), levels["bone"])
    inner = (vertebra.axes[0] - 0.035, vertebra.axes[1] - 0.035)
    paint(image, ellipse(canvas, (x, y), inner), levels["marrow"])
    paint(image, ellipse(canvas, (x, y + 0.135), (0.06, 0.05)), levels["muscle"])


def _kidneys(image: Field, canvas: Canvas, anatomy: Anatomy, height: float) -> None:
    """Bright cortex, darker medulla, and fat in the hilum that faces the spine."""
    for name, side in (("right_kidney", 1), ("left_kidney", -1)):
        organ = anatomy.organs[name]
        paint(image, _organ(canvas, organ, height), anatomy.levels["cortex"])
        paint(image, _organ(canvas, organ, height, 0.6), anatomy.levels["medulla"])
        hilum = (organ.centre[0] + 0.75 * side * organ.axes[0], organ.centre[1] - 0.02)
        paint(image, ellipse(canvas, hilum, (0.075, 0.04)), anatomy.levels["fat"])


def _middle(image: Field, canvas: Canvas, anatomy: Anatomy, height: float) -> None:
    """Great vessels, pancreas and loops of bowel, each loop a wall around its content."""
    for name in ("bowel_1", "bowel_2", "bowel_3"):
        paint(image, _organ(canvas, anatomy.organs[name], height), anatomy.levels["muscle"])
        paint(image, _organ(canvas, anatomy.organs[name], height, 0.65), anatomy.levels["bowel"])
    for name in ("pancreas", "cava", "aorta"):
        paint(image, _organ(canvas, anatomy.organs[name], height), anatomy.levels[name])


def _stomach(image: Field, canvas: Canvas, anatomy: Anatomy, height: float, cavity: Field) -> None:
    """A wall, fluid, and gas that has risen to the front with a level surface."""
    organ, levels = anatomy.organs["stomach"], anatomy.levels
    paint(image, _organ(canvas, organ, height) * cavity, levels["muscle"])
    content = _organ(canvas, organ, height, 0.86) * cavity
    paint(image, content, levels["stomach"])
    if anatomy.gas is not None:
        paint(image, content * coverage(canvas, np.float32(anatomy.gas) - canvas.y), levels["air"])


def _solid(image: Field, canvas: Canvas, anatomy: Anatomy, height: float, cavity: Field) -> None:
    """Spleen and liver, uneven and crossed by vessels, and the gallbladder."""
    organs, levels = anatomy.organs, anatomy.levels
    right, left = _organ(canvas, organs["liver"], height), _organ(canvas, organs["left_lobe"], height)
    shapes = {"spleen": _organ(canvas, organs["spleen"], height) * cavity, "liver": np.maximum(right, left) * cavity}
    for name, shape in shapes.items():
        level = np.full(image.shape, levels[name], dtype=np.float32)
        for centre, width, amplitude in anatomy.patches[name]:
            level += np.float32(amplitude) * blob(canvas, centre, width)
        for vessel in anatomy.vessels[name]:
            dx, dy = vessel.drift[0] * height, vessel.drift[1] * height
            start, end = (vessel.start[0] + dx, vessel.start[1] + dy), (vessel.end[0] + dx, vessel.end[1] + dy)
            tube = capsule(canvas, start, end, vessel.radii)
            np.maximum(level, levels[name] + np.float32(vessel.contrast) * tube, out=level, where=tube > 0)
        paint(image, shape, level)
    if anatomy.gallbladder:
        paint(image, _organ(canvas, organs["gallbladder"], height), levels["gallbladder"])
