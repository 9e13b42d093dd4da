"""A breast in axial section, as fat-suppressed T1-weighted MRI shows it, with one lesion; every patient's differs.

It shows dark fat, brighter gland, chest wall, a few vessels, and a lesion somewhere in the gland. All frames of a
series are drawn at once, each shifted by its own motion. Levels are grey values of 0 to 255 before contrast agent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vesalius.data.phantoms.drawing import Canvas, Field, Point, capsule, coverage, ellipse, paint

LEVELS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"air": (8, 2), "skin": (72, 8), "fat": (38, 8), "gland": (66, 10), "muscle": (62, 8), "vessel": (58, 8)}
)
"""Mean grey value of each tissue, and the half range over patients."""

SECTIONS = (0.0, 0.4, -0.4)
"""Heights of a lesion's sections, in lesion radii from its centre."""


@dataclass(frozen=True)
class BreastParameters:
    """How much patients differ; lengths in half images, levels in grey values.

    Attributes:
        lesion_radius: range.
        lesion_flattening: range of the ratio of the semi-axes.
        lesion_lobes: largest amplitude of the outline's waves, relative to the radius.
        lesion_level: range of the lesion's level over its surroundings, before contrast agent.
        gland_enhancement: range of the gland's own enhancement at the end of the series.
        vessel_enhancement: range of a vessel's at its height.
        vessel_radius: range.
        vessels: smallest and largest number.
        texture: standard deviation of the gland's structure.
        bias: half range of the coil's fall-off along x and along y, relative, from centre to edge.
        motion: standard deviation of each frame's shift along x and along y.
    """

    lesion_radius: tuple[float, float] = (0.18, 0.28)
    lesion_flattening: tuple[float, float] = (0.75, 1.33)
    lesion_lobes: float = 0.12
    lesion_level: tuple[float, float] = (-12.0, 8.0)
    gland_enhancement: tuple[float, float] = (2.0, 12.0)
    vessel_enhancement: tuple[float, float] = (30.0, 70.0)
    vessel_radius: tuple[float, float] = (0.015, 0.03)
    vessels: tuple[int, int] = (1, 3)
    texture: float = 5.0
    bias: float = 0.10
    motion: float = 0.015


@dataclass(frozen=True)
class Breast:
    """Everything drawn for one patient, except the lesion's curve.

    Attributes:
        outline: semi-axes of the breast.
        wall: height of the chest wall.
        gland: its centre and semi-axes.
        lesion: its centre.
        radius: of the lesion.
        flattening: ratio of the lesion's semi-axes.
        angle: of its first semi-axis, in radians.
        lobes: amplitude and phase of the outline's waves, two to four a turn.
        lesion_level: grey values over the surroundings, before contrast agent.
        levels: this patient's grey levels.
        gland_enhancement: of the gland, at the end.
        vessels: ends, radius and enhancement of each.
        bias: the coil's fall-off along x and y.
    """

    outline: Point
    wall: float
    gland: tuple[Point, Point]
    lesion: Point
    radius: float
    flattening: float
    angle: float
    lobes: Sequence[Point]
    lesion_level: float
    levels: Mapping[str, float]
    gland_enhancement: float
    vessels: Sequence[tuple[Point, Point, float, float]]
    bias: Point


def draw_breast(generator: np.random.Generator, parameters: BreastParameters) -> Breast:
    """One patient at random."""
    uniform = generator.uniform
    gland: tuple[Point, Point] = (
        (uniform(-0.1, 0.1), uniform(-0.1, 0.08)),
        (uniform(0.46, 0.56), uniform(0.46, 0.56)),
    )
    radius = uniform(*parameters.lesion_radius)
    place, turn = math.sqrt(generator.random()), uniform(0, 2 * math.pi)
    reach = [place * (axis - 0.8 * radius) for axis in gland[1]]
    low, high = parameters.vessels
    return Breast(
        outline=(uniform(0.80, 0.92), uniform(1.20, 1.45)),
        wall=uniform(0.62, 0.72),
        gland=gland,
        lesion=(gland[0][0] + reach[0] * math.cos(turn), gland[0][1] + reach[1] * math.sin(turn)),
        radius=radius,
        flattening=uniform(*parameters.lesion_flattening),
        angle=uniform(0, math.pi),
        lobes=[(uniform(0, parameters.lesion_lobes), uniform(0, 2 * math.pi)) for _ in range(3)],
        lesion_level=uniform(*parameters.lesion_level),
        levels={name: mean + uniform(-spread, spread) for name, (mean, spread) in LEVELS.items()},
        gland_enhancement=uniform(*parameters.gland_enhancement),
        vessels=[_vessel(generator, parameters) for _ in range(int(generator.integers(low, high + 1)))],
        bias=(uniform(-parameters.bias, parameters.bias), uniform(-parameters.bias, parameters.bias)),
    )


def _vessel(generator: np.random.Generator, parameters: BreastParameters) -> tuple[Point, Point, float, float]:
    """From the chest wall forwards, along one side of the gland."""
    side = 1 if generator.random() < 0.5 else -1
    start = (side * generator.uniform(0.35, 0.75), generator.uniform(0.35, 0.6))
    end = (side * generator.uniform(0.1, 0.6), generator.uniform(-0.45, 0.1))
    return start, end, generator.uniform(*parameters.vessel_radius), generator.uniform(*parameters.vessel_enhancement)


@dataclass(frozen=True)
class Layers:
    """The parts of a series, each (T, H, W): the image before contrast agent, and what takes up how much of it.

    Attributes:
        plain: grey values without contrast agent.
        lesion: part of each pixel's signal that is the lesion's, 0 to 1.
        gland: the gland's enhancement at its end, in grey values.
        vessels: the vessels' enhancement at their height, in grey values.
        bias: factor on every grey value.
    """

    plain: Field
    lesion: Field
    gland: Field
    vessels: Field
    bias: Field


def draw_layers(breast: Breast, canvas: Canvas, section: float, structure: Field) -> Layers:
    """Draw a patient on the coordinates of every frame.

    Args:
        breast: the patient.
        canvas: coordinates in the patient, (T, H, W), moved in each frame.
        section: height over the lesion's centre, in lesion radii.
        structure: the gland's texture, (T, H, W) grey values.
    """
    levels, wall = breast.levels, np.float32(breast.wall)
    plain = np.full(canvas.x.shape, levels["air"], dtype=np.float32)
    front = coverage(canvas, wall + np.float32(0.08) * canvas.x**2 - canvas.y)
    skin = ellipse(canvas, (0, breast.wall), breast.outline)
    inner = ellipse(canvas, (0, breast.wall), (breast.outline[0] - 0.05, breast.outline[1] - 0.05))
    paint(plain, skin, levels["skin"])
    paint(plain, inner, levels["fat"])
    gland = ellipse(canvas, *breast.gland) * inner * front
    paint(plain, gland, levels["gland"] + structure)
    vessels = np.zeros_like(plain)
    for start, end, radius, enhancement in breast.vessels:
        tube = capsule(canvas, start, end, (radius, 0.7 * radius)) * inner
        paint(plain, tube, levels["vessel"])
        np.maximum(vessels, np.float32(enhancement) * tube, out=vessels)
    paint(plain, 1 - front, levels["muscle"])
    vessels *= front
    lesion = _lesion(breast, canvas, section) * front
    plain += np.float32(breast.lesion_level) * lesion
    rest = 1 - lesion
    bias = 1 + np.float32(breast.bias[0]) * canvas.x + np.float32(breast.bias[1]) * canvas.y
    return Layers(plain, lesion, np.float32(breast.gland_enhancement) * gland * rest, vessels * rest, bias)


def _lesion(breast: Breast, canvas: Canvas, section: float) -> Field:
    """How much of each pixel the lesion covers: an ellipse with a wavy outline."""
    radius = breast.radius * math.sqrt(1 - section**2)
    stretch = math.sqrt(breast.flattening)
    x, y = canvas.x - np.float32(breast.lesion[0]), canvas.y - np.float32(breast.lesion[1])
    cosine, sine = np.float32(math.cos(breast.angle)), np.float32(math.sin(breast.angle))
    x, y = (cosine * x + sine * y) / np.float32(stretch), (cosine * y - sine * x) * np.float32(stretch)
    distance, turn = np.sqrt(x * x + y * y), np.arctan2(y, x)
    outline = np.full_like(distance, radius)
    for number, (amplitude, phase) in enumerate(breast.lobes, 2):
        outline += np.float32(radius * amplitude) * np.cos(np.float32(number) * turn + np.float32(phase))
    return coverage(canvas, outline - distance)


def vessel_curve(times: NDArray[np.float64], arrival: float) -> Field:
    """(T,) A bolus in a vessel: full within seconds, then diluted to two fifths in minutes."""
    since = np.clip(times - arrival, 0, None)
    return ((1 - np.exp(-since / 8)) * (0.4 + 0.6 * np.exp(-since / 90))).astype(np.float32)


def gland_curve(times: NDArray[np.float64], arrival: float) -> Field:
    """(T,) The gland's own slow uptake, from 0 towards 1."""
    return (1 - np.exp(-np.clip(times - arrival, 0, None) / 150)).astype(np.float32)
