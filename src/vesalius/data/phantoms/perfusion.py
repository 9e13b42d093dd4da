"""The `perfusion` phantom: contrast-enhanced MRI series of a breast lesion, whose class is only in the dynamics.

A patient is a pure function of (seed, patient), a series of (seed, patient, section, protocol): nothing depends on how
many are asked for. Everything but the sign of the delayed phase's slope (see `kinetics`) is drawn alike for each class.

How hard it is, before any network saw it (32 pixels, 12 frames, phantom seeds 1, 2, 3). Macro AUROC of an oracle that
knows the generator (`tests/helpers/perfusion_oracle.py`) 1.000, 1.000, 1.000 over the four classes and over the three
that enhance; R² of its time to peak .998, .972, .992 (240 patients each). Over the three that enhance, of quadratic
classifiers that know where the lesion is: from its mean in the best single frame .620, .613, .596; from its values
without their order .867, .853, .869; in their order 1.000, 1.000, 1.000 (1,500 patients each, cross-validated).
`make proof` prints these.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from vesalius.data.phantoms.breast import (
    SECTIONS,
    Breast,
    BreastParameters,
    Layers,
    draw_breast,
    draw_layers,
    gland_curve,
    vessel_curve,
)
from vesalius.data.phantoms.drawing import Canvas, Field, texture
from vesalius.data.phantoms.kinetics import CURVES, KineticParameters, Kinetics, draw_kinetics

TEXTURE_CORRELATION = 0.08  # half images


@dataclass(frozen=True)
class PerfusionParameters:
    """Everything that the phantom's difficulty depends on. Changing any of it re-opens every published figure.

    Attributes:
        kinetics: how much curves differ.
        breast: how much patients differ.
        noise: standard deviation of the white noise of each frame, in grey values of 0 to 255.
        duration: seconds from the first frame to the last of a whole series.
        shortest: part of the frames that the shortest series has, where lengths vary.
        jitter: range of the gaps between irregular frames, relative to their mean.
    """

    kinetics: KineticParameters = field(default_factory=KineticParameters)
    breast: BreastParameters = field(default_factory=BreastParameters)
    noise: float = 2.0
    duration: float = 330.0
    shortest: float = 0.67
    jitter: tuple[float, float] = (0.4, 1.6)


PARAMETERS = PerfusionParameters()


@dataclass(frozen=True)
class Protocol:
    """How a series is acquired.

    Attributes:
        frames: of a whole series.
        size: height and width, in pixels.
        irregular: whether the gaps between frames differ.
        variable_length: whether some series end early.
    """

    frames: int
    size: int
    irregular: bool = False
    variable_length: bool = False


@dataclass(frozen=True)
class Patient:
    """Everything drawn for one patient."""

    breast: Breast
    kinetics: Kinetics
    label: str


@dataclass(frozen=True)
class Series:
    """A series without the acquisition's noise.

    Attributes:
        frames: (T, H, W) grey values.
        layers: what they consist of.
        times: (T,) seconds since the first frame.
        curve: (T,) the lesion's enhancement, in grey values, before fluctuation and the coil's fall-off.
    """

    frames: Field
    layers: Layers
    times: NDArray[np.float64]
    curve: NDArray[np.float64]


def draw_patient(seed: int, number: int) -> Patient:
    """The patient of this number; four in a row have the four classes, in an order of their own."""
    order = np.random.default_rng([seed, number // len(CURVES), 1]).permutation(len(CURVES))
    generator = np.random.default_rng([seed, number, 0])
    breast = draw_breast(generator, PARAMETERS.breast)
    kinetics = draw_kinetics(generator, PARAMETERS.kinetics)
    return Patient(breast, kinetics, CURVES[int(order[number % len(CURVES)])])


def draw_times(seed: int, number: int, section: int, protocol: Protocol) -> NDArray[np.float64]:
    """(T,) seconds since the first frame, to a tenth; drawn without regard to the class."""
    generator = np.random.default_rng([seed, number, 2 + section, 2])
    gaps = np.ones(protocol.frames - 1)
    if protocol.irregular:
        gaps = generator.uniform(*PARAMETERS.jitter, protocol.frames - 1)
    times = np.concatenate([[0], np.cumsum(gaps)]) * (PARAMETERS.duration / gaps.sum())
    count = protocol.frames
    if protocol.variable_length:
        count = int(generator.integers(math.ceil(PARAMETERS.shortest * count), count + 1))
    rounded: NDArray[np.float64] = np.round(times[:count], 1)
    return rounded


def draw_series(seed: int, number: int, section: int, protocol: Protocol, label: str | None = None) -> Series:
    """A series without noise.

    Args:
        seed: of the phantom.
        number: the patient.
        section: index into `breast.SECTIONS`.
        protocol: how it is acquired.
        label: the type of the lesion's curve; None for the patient's own.
    """
    patient = draw_patient(seed, number)
    times = draw_times(seed, number, section, protocol)
    curve = patient.kinetics.enhancement(times, float(times[-1]), label or patient.label)
    generator = np.random.default_rng([seed, number, 2 + section])
    structure = texture(generator, protocol.size, TEXTURE_CORRELATION) * np.float32(PARAMETERS.breast.texture)
    motion = generator.standard_normal((len(times), 2)) * PARAMETERS.breast.motion
    motion[0] = 0
    uptake = curve * (1 + PARAMETERS.kinetics.fluctuation * generator.standard_normal(len(times)))
    layers = draw_layers(
        patient.breast,
        _moved_canvas(protocol.size, motion),
        SECTIONS[section],
        _moved_texture(structure, motion, protocol.size),
    )
    arrival = patient.kinetics.arrival
    frames = layers.plain + layers.lesion * _by_frame(uptake)
    frames += layers.vessels * _by_frame(vessel_curve(times, arrival - 10))
    frames += layers.gland * _by_frame(gland_curve(times, arrival))
    frames *= layers.bias
    return Series(frames, layers, times, curve)


def acquire(series: Series, seed: int, number: int, section: int) -> NDArray[np.uint8]:
    """What the scanner records of a noiseless series: noise added, rounded to 8 bits; (T, H, W)."""
    generator = np.random.default_rng([seed, number, 2 + section, 1])
    noise = generator.standard_normal(series.frames.shape, dtype=np.float32) * np.float32(PARAMETERS.noise)
    return np.clip(np.rint(series.frames + noise), 0, 255).astype(np.uint8)


def _by_frame(values: NDArray[np.floating]) -> Field:
    return values.astype(np.float32)[:, None, None]


def _moved_canvas(size: int, motion: NDArray[np.float64]) -> Canvas:
    """Pixel coordinates relative to the patient, who has moved by `motion` (T, 2) in each frame."""
    plain = Canvas.square(size)
    moves = motion.astype(np.float32)[:, :, None, None]
    return Canvas(plain.x - moves[:, 0], plain.y - moves[:, 1], plain.pixel)


def _moved_texture(structure: Field, motion: NDArray[np.float64], size: int) -> Field:
    """The texture of every frame, moved along with the patient."""
    pixels = motion * (size / 2)
    return np.stack([shift(structure, (y, x), order=1, mode="nearest") for x, y in pixels])
