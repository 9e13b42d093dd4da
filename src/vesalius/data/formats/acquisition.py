"""How images were acquired, as far as the headers of their files state it: modality, plane, millimetres."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Plane = Literal["axial", "coronal", "sagittal"]

#: How many times smaller or larger than any of the training images a pixel may be.
SPACING_FACTOR = 2.0
_RADIOGRAPHS = {"CR": "DX"}  # two codes for the same kind of image
_MOST_NAMES, _MOST_LETTERS = 100, 16


@dataclass(frozen=True)
class Acquisition:
    """What the header of a file states of an image.

    Attributes:
        modality: DICOM's code, such as MR; empty where it is not stated.
        photometric: DICOM's PhotometricInterpretation; empty likewise.
        plane: of the body, that the image is closest to; None where its orientation is not stated.
        extent: height and width in mm; None where the size of a pixel is not stated.
    """

    modality: str = ""
    photometric: str = ""
    plane: Plane | None = None
    extent: tuple[float, float] | None = None

    def spacing(self, image_size: tuple[int, int]) -> float | None:
        """Side of a pixel in mm once the image is resized to so many rows and columns; their geometric mean."""
        if self.extent is None:
            return None
        return math.sqrt(self.extent[0] * self.extent[1] / (image_size[0] * image_size[1]))


UNKNOWN = Acquisition()


@dataclass(frozen=True)
class AcquisitionRange:
    """What the headers of many images state, as far as they do.

    Attributes:
        modalities, photometrics, planes: all that occur, sorted; empty where none is stated.
        spacing: the smallest and the largest side of a pixel in mm, at the size that the model takes.
    """

    modalities: tuple[str, ...] = ()
    photometrics: tuple[str, ...] = ()
    planes: tuple[Plane, ...] = ()
    spacing: tuple[float, float] | None = None

    @classmethod
    def of(cls, images: Iterable[Acquisition], image_size: tuple[int, int]) -> "AcquisitionRange":
        """The range of some images.

        Args:
            images: what the header of each states.
            image_size: rows and columns that they are resized to.
        """
        different = set(images)
        sides = [side for one in different if (side := one.spacing(image_size)) is not None]
        return cls(
            modalities=tuple(sorted({one.modality for one in different} - {""})),
            photometrics=tuple(sorted({one.photometric for one in different} - {""})),
            planes=tuple(sorted({one.plane for one in different if one.plane is not None})),
            spacing=(min(sides), max(sides)) if sides else None,
        )

    @classmethod
    def union(cls, ranges: Iterable["AcquisitionRange"]) -> "AcquisitionRange":
        """What is in any of some ranges."""
        every = list(ranges)
        sides = [side for one in every for side in one.spacing or ()]
        return cls(
            modalities=tuple(sorted({name for one in every for name in one.modalities})),
            photometrics=tuple(sorted({name for one in every for name in one.photometrics})),
            planes=tuple(sorted({plane for one in every for plane in one.planes})),
            spacing=(min(sides), max(sides)) if sides else None,
        )

    def problem(self, image: Acquisition, image_size: tuple[int, int]) -> str | None:
        """In what an image differs from those of the range, and the cure; None where it does not, or it is not known.

        Args:
            image: what its header states.
            image_size: rows and columns that it is resized to.
        """
        known = {_RADIOGRAPHS.get(name, name) for name in self.modalities}
        if known and image.modality and _RADIOGRAPHS.get(image.modality, image.modality) not in known:
            return (
                f"is of the modality {image.modality}, and the training images were {' or '.join(self.modalities)}: "
                "give images of that modality"
            )
        if self.planes and image.plane is not None and image.plane not in self.planes:
            return f"is {image.plane}, and the training images were {' or '.join(self.planes)}: give such slices"
        side = image.spacing(image_size)
        if self.spacing is None or side is None:
            return None
        low, high = self.spacing
        if low / SPACING_FACTOR <= side <= high * SPACING_FACTOR:
            return None
        rows, columns = image_size
        return (
            f"has pixels of {side:.3g} mm at {rows}x{columns}, and those of the training images had "
            f"{' to '.join(dict.fromkeys(f'{one:.3g}' for one in self.spacing))} mm: crop or pad it to a field of view "
            "like theirs, or correct the spacing in its header"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Any) -> "AcquisitionRange":
        """Inverse of `to_dict`, for content that may be a stranger's; of None, as older runs have it, the empty range.

        Raises:
            ValueError: for anything else.
        """
        if plain is None:
            return cls()
        if not isinstance(plain, Mapping) or plain.keys() != cls.__dataclass_fields__.keys():
            raise ValueError("acquisition is not a mapping with its four keys")
        spacing = plain["spacing"]
        if spacing is not None and not (
            isinstance(spacing, list) and len(spacing) == 2 and all(map(_is_side, spacing))
        ):
            raise ValueError("acquisition.spacing is not two sides of a pixel in mm")
        names = {key: _names(plain[key], key) for key in ("modalities", "photometrics", "planes")}
        if not set(names["planes"]) <= set(get_args(Plane)):
            raise ValueError("acquisition.planes are not planes of the body")
        return cls(**names, spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])))


NOTHING_KNOWN = AcquisitionRange()


def _names(value: Any, key: str) -> Any:
    short = isinstance(value, list) and len(value) <= _MOST_NAMES
    if not short or not all(isinstance(one, str) and 0 < len(one) <= _MOST_LETTERS for one in value):
        raise ValueError(f"acquisition.{key} is not a list of short names")
    return tuple(value)


def _is_side(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
