"""An abdomen in axial section, as contrast-enhanced CT at the height of the kidneys shows it; every patient's differs.

The patient lies on the back and is seen from the feet, as radiology has it: the liver is on the left of the image, the
spleen on the right, the spine below. Levels are grey values of an abdominal window (0 to 255).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vesalius.data.phantoms.drawing import Field, Point

TISSUES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "air": (6, 3),
        "table": (58, 12),
        "skin": (112, 10),
        "fat": (54, 8),
        "muscle": (116, 10),
        "liver": (134, 20),
        "spleen": (140, 20),
        "cortex": (176, 16),
        "medulla": (146, 16),
        "aorta": (192, 18),
        "cava": (168, 18),
        "pancreas": (112, 12),
        "stomach": (96, 18),
        "bowel": (104, 18),
        "gallbladder": (92, 8),
        "bone": (226, 12),
        "marrow": (172, 16),
    }
)
"""Mean grey value of each tissue, and the half range over patients."""


@dataclass(frozen=True)
class AnatomyParameters:
    """How much patients differ; lengths in half images, angles in radians, contrasts in grey values.

    Attributes:
        organ_scale: range of each organ's size, relative to the drawn one.
        organ_shift: half range of each organ's place, in half images.
        organ_angle: half range of each organ's turn, in radians.
        warp: amplitude of the smooth bending of everything, in half images.
        body_angle: half range of the patient's turn on the table, in radians.
        body_shift: half range of the patient's place in the image, in half images.
        breathing: half range of the shift from slice to slice, in half images.
        texture: standard deviation of the tissue's own structure, in grey values.
        texture_correlation: its correlation length, in half images.
        patches: half range of the amplitude of the broad light and dark patches in liver and spleen.
        vessel_contrast: range of the brightness of a vessel over its organ, in grey values.
        vessel_radius: range of a vessel's radius, in half images.
    """

    organ_scale: tuple[float, float] = (0.90, 1.10)
    organ_shift: float = 0.035
    organ_angle: float = 0.12
    warp: float = 0.016
    body_angle: float = 0.10
    body_shift: float = 0.035
    breathing: float = 0.012
    texture: float = 5.0
    texture_correlation: float = 0.045
    patches: float = 14.0
    vessel_contrast: tuple[float, float] = (18.0, 42.0)
    vessel_radius: tuple[float, float] = (0.018, 0.036)


@dataclass(frozen=True)
class Organ:
    """One ellipse of the body: centre and semi-axes in half images, turn in radians, growth with height."""

    centre: Point
    axes: Point
    angle: float
    growth: float = 0.0


ORGANS: Mapping[str, Organ] = MappingProxyType(
    {
        "liver": Organ((-0.42, -0.02), (0.37, 0.44), 0.10),
        "left_lobe": Organ((-0.06, -0.27), (0.36, 0.21), -0.12),
        "spleen": Organ((0.60, 0.16), (0.22, 0.34), 0.12),
        "right_kidney": Organ((-0.33, 0.38), (0.14, 0.18), -0.25),
        "left_kidney": Organ((0.34, 0.39), (0.14, 0.18), 0.25),
        "stomach": Organ((0.40, -0.27), (0.27, 0.19), 0.35),
        "gallbladder": Organ((-0.20, 0.04), (0.065, 0.115), 0.35),
        "aorta": Organ((0.07, 0.20), (0.075, 0.075), 0.0),
        "cava": Organ((-0.13, 0.18), (0.085, 0.06), 0.2),
        "pancreas": Organ((0.16, 0.03), (0.21, 0.065), -0.25),
        "vertebra": Organ((0.0, 0.39), (0.155, 0.125), 0.0),
        "bowel_1": Organ((0.27, 0.16), (0.10, 0.085), 0.5),
        "bowel_2": Organ((0.36, -0.02), (0.09, 0.11), 0.2),
        "bowel_3": Organ((0.10, -0.08), (0.12, 0.07), -0.3),
    }
)
"""The textbook body, of which every patient is a variation."""


@dataclass(frozen=True)
class Vessel:
    """A tube: its ends, the radius at each, grey values over its organ, and its drift from middle to last slice."""

    start: Point
    end: Point
    radii: Point
    contrast: float
    drift: Point


@dataclass(frozen=True)
class Anatomy:
    """Everything drawn for one patient.

    Attributes:
        trunk: semi-axes of the trunk.
        layers: thickness of the fat under the skin, and of the muscle around the cavity.
        organs: this patient's organs.
        levels: this patient's grey levels.
        vessels: of `liver` and of `spleen`.
        patches: of `liver` and of `spleen`: centre, width and amplitude of each.
        ribs: angle on the wall, length and thickness of each rib.
        waves: the smooth bending: wave vector, phase and displacement of each wave.
        shift: the patient's place in the image.
        angle: the patient's turn.
        gallbladder: whether it is visible in this section.
        gas: height of the fluid level in the stomach; None without gas.
    """

    trunk: Point
    layers: Point
    organs: Mapping[str, Organ]
    levels: Mapping[str, float]
    vessels: Mapping[str, Sequence[Vessel]]
    patches: Mapping[str, Sequence[tuple[Point, float, float]]]
    ribs: Sequence[tuple[float, float, float]]
    waves: Sequence[tuple[Point, float, Point]]
    shift: Point
    angle: float
    gallbladder: bool
    gas: float | None

    def bend(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Smooth displacement (dx, dy) that bends ellipses into organs, at body coordinates x and y."""
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for (kx, ky), phase, (ax, ay) in self.waves:
            wave = np.sin(np.float32(kx) * x + np.float32(ky) * y + np.float32(phase))
            dx += np.float32(ax) * wave
            dy += np.float32(ay) * wave
        return dx, dy


def draw_anatomy(generator: np.random.Generator, parameters: AnatomyParameters) -> Anatomy:
    """One patient at random."""
    organs = {name: _vary(generator, organ, parameters) for name, organ in ORGANS.items()}
    return Anatomy(
        trunk=_pair(generator, (0.84, 0.92), (0.64, 0.73)),
        layers=_pair(generator, (0.04, 0.10), (0.045, 0.07)),
        organs=organs,
        levels={name: mean + spread * _sign(generator) for name, (mean, spread) in TISSUES.items()},
        vessels={
            "liver": _liver_vessels(generator, organs, parameters),
            "spleen": _vessels(generator, organs["spleen"], 2, parameters),
        },
        patches={
            "liver": _patches(generator, organs["liver"], 3, parameters)
            + _patches(generator, organs["left_lobe"], 1, parameters),
            "spleen": _patches(generator, organs["spleen"], 2, parameters),
        },
        ribs=_ribs(generator),
        waves=_waves(generator, parameters),
        shift=(parameters.body_shift * _sign(generator), parameters.body_shift * _sign(generator)),
        angle=parameters.body_angle * _sign(generator),
        gallbladder=bool(generator.random() < 0.35),
        gas=float(generator.uniform(-0.34, -0.24)) if generator.random() < 0.7 else None,
    )


def _sign(generator: np.random.Generator) -> float:
    """Uniform in [-1, 1)."""
    return 2 * float(generator.random()) - 1


def _pair(generator: np.random.Generator, first: Point, second: Point) -> Point:
    return float(generator.uniform(*first)), float(generator.uniform(*second))


def _vary(generator: np.random.Generator, organ: Organ, parameters: AnatomyParameters) -> Organ:
    shift, scale = parameters.organ_shift, parameters.organ_scale
    sizes = _pair(generator, scale, scale)
    return Organ(
        centre=(organ.centre[0] + shift * _sign(generator), organ.centre[1] + shift * _sign(generator)),
        axes=(organ.axes[0] * sizes[0], organ.axes[1] * sizes[1]),
        angle=organ.angle + parameters.organ_angle * _sign(generator),
        growth=0.06 * _sign(generator),
    )


def inside(organ: Organ, radius: float, angle: float, margin: float = 0.0) -> Point:
    """The point of an organ at a relative `radius` (0 centre, 1 edge) and `angle`, `margin` away from its edge."""
    along = radius * max(organ.axes[0] - margin, 0.0) * math.cos(angle)
    across = radius * max(organ.axes[1] - margin, 0.0) * math.sin(angle)
    cosine, sine = math.cos(organ.angle), math.sin(organ.angle)
    return organ.centre[0] + cosine * along - sine * across, organ.centre[1] + sine * along + cosine * across


def anywhere(generator: np.random.Generator, organ: Organ, margin: float = 0.0) -> Point:
    """A point of an organ, all equally likely, `margin` away from its edge."""
    return inside(organ, math.sqrt(generator.random()), 2 * math.pi * generator.random(), margin)


def _vessel(
    generator: np.random.Generator, start: Point, end: Point, taper: float, parameters: AnatomyParameters
) -> Vessel:
    radius = float(generator.uniform(*parameters.vessel_radius))
    return Vessel(
        start,
        end,
        (radius, taper * radius),
        float(generator.uniform(*parameters.vessel_contrast)),
        (0.06 * _sign(generator), 0.06 * _sign(generator)),
    )


def _vessels(generator: np.random.Generator, organ: Organ, count: int, parameters: AnatomyParameters) -> list[Vessel]:
    """Vessels that cross the section at random: dots where steep, short tubes where slanting."""
    vessels = []
    for _ in range(count):
        start = anywhere(generator, organ, 0.04)
        length, angle = 0.16 * generator.random(), 2 * math.pi * generator.random()
        end = (start[0] + length * math.cos(angle), start[1] + length * math.sin(angle))
        vessels.append(_vessel(generator, start, end, 0.8, parameters))
    return vessels


def _liver_vessels(
    generator: np.random.Generator, organs: Mapping[str, Organ], parameters: AnatomyParameters
) -> list[Vessel]:
    """Portal branches that fan out from the hilum, and hepatic veins cut across."""
    liver = organs["liver"]
    hilum = inside(liver, 0.75, 0.3 * _sign(generator))
    vessels = []
    for direction in (-2.6, -3.3, 2.3):
        reach = inside(liver, float(generator.uniform(0.4, 0.85)), direction + 0.3 * _sign(generator))
        vessels.append(_vessel(generator, hilum, reach, 0.4, parameters))
    vessels += _vessels(generator, liver, int(generator.integers(2, 6)), parameters)
    return vessels + _vessels(generator, organs["left_lobe"], 2, parameters)


def _patches(
    generator: np.random.Generator, organ: Organ, count: int, parameters: AnatomyParameters
) -> list[tuple[Point, float, float]]:
    return [
        (anywhere(generator, organ), float(generator.uniform(0.12, 0.25)), parameters.patches * _sign(generator))
        for _ in range(count)
    ]


def _ribs(generator: np.random.Generator) -> list[tuple[float, float, float]]:
    """Ribs at the sides and behind; none in front, where the cartilage is."""
    ribs = []
    for side in (1, -1):
        for place in (-0.35, 0.05, 0.45, 0.85):
            angle = place + 0.12 * _sign(generator)
            ribs.append(
                (
                    angle if side == 1 else math.pi - angle,
                    float(generator.uniform(0.05, 0.09)),
                    float(generator.uniform(0.018, 0.026)),
                )
            )
    return ribs


def _waves(generator: np.random.Generator, parameters: AnatomyParameters) -> list[tuple[Point, float, Point]]:
    waves = []
    for _ in range(3):
        direction, number = 2 * math.pi * generator.random(), generator.uniform(3.5, 8.0)
        vector = (number * math.cos(direction), number * math.sin(direction))
        push = (parameters.warp * _sign(generator), parameters.warp * _sign(generator))
        waves.append((vector, 2 * math.pi * generator.random(), push))
    return waves
