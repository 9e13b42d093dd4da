"""The `lesions` phantom: abdominal sections of patients with one of three focal findings or none.

A patient is a pure function of (seed, patient), a slice of (seed, patient, slice): nothing depends on how many are
asked for.

How hard it is, before any network saw it (64 pixels, 600 patients of 4 slices, the last 90 patients as test, phantom
seeds 1, 2, 3): macro AUROC of an oracle that knows the generator (`tests/helpers/lesions_oracle.py`) 1.000, 1.000,
1.000 (180 slices each); of logistic regression on pixels .738, .698, .745; on 64 principal components .743, .722, .750.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vesalius.data.phantoms.anatomy import Anatomy, AnatomyParameters, draw_anatomy
from vesalius.data.phantoms.drawing import Canvas, Field, texture
from vesalius.data.phantoms.findings import CLASSES, Finding, FindingParameters, draw_finding, paint_finding
from vesalius.data.phantoms.section import body_canvas, draw_section

#: Heights of a patient's slices, the middle one first; a unit is the span over which organs change by their `growth`.
HEIGHTS = (0.0, 0.35, -0.35, 0.7, -0.7, 1.0, -1.0)


@dataclass(frozen=True)
class LesionParameters:
    """Everything that the phantom's difficulty depends on. Changing any of it re-opens every published figure.

    Attributes:
        anatomy: how much patients differ.
        finding: how much findings differ.
        noise: standard deviation of the acquisition's white noise, in grey values of 0 to 255.
    """

    anatomy: AnatomyParameters = field(default_factory=AnatomyParameters)
    finding: FindingParameters = field(default_factory=FindingParameters)
    noise: float = 6.0


@dataclass(frozen=True)
class Patient:
    """Everything drawn for one patient."""

    anatomy: Anatomy
    finding: Finding
    label: str


PARAMETERS = LesionParameters()


def draw_patient(seed: int, number: int) -> Patient:
    """The patient of this number; four in a row have the four classes, in an order of their own."""
    order = np.random.default_rng([seed, number // len(CLASSES), 1]).permutation(len(CLASSES))
    generator = np.random.default_rng([seed, number, 0])
    anatomy = draw_anatomy(generator, PARAMETERS.anatomy)
    finding = draw_finding(generator, anatomy, PARAMETERS.finding)
    return Patient(anatomy, finding, CLASSES[int(order[number % len(CLASSES)])])


def draw_slice(seed: int, number: int, position: int, size: int, label: str | None = None) -> tuple[Field, Field]:
    """A slice without the acquisition's noise.

    Args:
        seed: of the phantom.
        number: the patient.
        position: index into `HEIGHTS`.
        size: height and width, in pixels.
        label: the finding to paint; None for the patient's own.

    Returns:
        (H, W) grey values, and (H, W) how much of each pixel the finding covers.
    """
    patient, generator = draw_patient(seed, number), np.random.default_rng([seed, number, 2 + position])
    anatomy = patient.anatomy
    body = _breathing_body(generator, anatomy, size)
    structure = texture(generator, size, PARAMETERS.anatomy.texture_correlation) * np.float32(
        PARAMETERS.anatomy.texture
    )
    image = draw_section(body, anatomy, HEIGHTS[position], structure)
    return image, _paint(image, body, patient, position, label)


def cover_finding(seed: int, number: int, position: int, size: int) -> Field:
    """How much of each pixel the finding covers, as `draw_slice` returns it, without the rest of the slice."""
    patient = draw_patient(seed, number)
    body = _breathing_body(np.random.default_rng([seed, number, 2 + position]), patient.anatomy, size)
    return _paint(np.zeros((size, size), dtype=np.float32), body, patient, position, None)


def _breathing_body(generator: np.random.Generator, anatomy: Anatomy, size: int) -> Canvas:
    breathing = PARAMETERS.anatomy.breathing
    breath = (breathing * (2 * generator.random() - 1), breathing * (2 * generator.random() - 1))
    return body_canvas(Canvas.square(size), anatomy, breath)


def _paint(image: Field, body: Canvas, patient: Patient, position: int, label: str | None) -> Field:
    dx, dy = patient.anatomy.bend(body.x, body.y)
    unbent = Canvas(body.x + dx, body.y + dy, body.pixel)
    return paint_finding(image, unbent, patient.finding, label or patient.label, HEIGHTS[position], PARAMETERS.finding)


def acquire(image: Field, seed: int, number: int, position: int) -> NDArray[np.uint8]:
    """What the scanner records of a noiseless slice: noise added, rounded to 8 bits."""
    generator = np.random.default_rng([seed, number, 2 + position, 1])
    noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(PARAMETERS.noise)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
