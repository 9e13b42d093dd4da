"""What an input must be before a model is applied to it: decoded as the run's own images were, and like them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.formats.acquisition import NOTHING_KNOWN, Acquisition, AcquisitionRange
from vesalius.data.formats.images import Fit, adapt_channels, convert_bits, resize
from vesalius.data.formats.window import to_window
from vesalius.data.sources.tables.file_reader import ReadOptions
from vesalius.data.sources.vocabulary import Unit

# Options of sources that change the pixels, or choose among them, by more than one file: only the source itself can
# apply them. With each its value where it does nothing.
_OF_THE_SOURCE: dict[str, object] = {
    "first": None,
    "run_length": None,
    "detrend": None,
    "standardize": None,
    "mask": None,
    "nan": 0.0,
    "fps": None,
    "every": 1,
    "max_frames": None,
}


@dataclass(frozen=True)
class InputContract:
    """How files are read, and what images (or the frames of series) must then be.

    Attributes:
        read: the options for reading files.
        one_window: whether the slices of a DICOM series are shown in one window that spans those of the whole series.
        bits: 8 or 16, to which whole numbers are converted by the whole range of their type; None: they stay.
        channels: of an image.
        converts_channels: whether grey images become RGB and the other way round, as the run's own did.
        image_size: height and width in pixels.
        resizes: whether images of another size are resized to it, as the run's own were.
        fit: how another aspect ratio is fitted.
        value_max: top of the value range: 255 (uint8), 65535 (uint16) or 1 (float32).
        series: whether an input is a series of frames.
        timed: whether the frames of a series have times in seconds.
        frame_seconds: between two frames, where files do not state it; None where they must.
        acquisition: how the training images were acquired, as far as their files stated it.
        mask_text: whether print and static overlays are masked, as in the run's own images.
    """

    read: ReadOptions
    one_window: bool
    bits: int | None
    channels: int
    converts_channels: bool
    image_size: tuple[int, int]
    resizes: bool
    fit: Fit
    value_max: float
    series: bool
    timed: bool
    frame_seconds: float | None
    acquisition: AcquisitionRange = NOTHING_KNOWN
    mask_text: bool = False

    @classmethod
    def of_run(cls, data: Mapping[str, Any], facts: Facts, acquisition: Any) -> "InputContract":
        """The contract of a run.

        Args:
            data: the `data` part of the run's config.
            facts: of the run's data.
            acquisition: how its training images were acquired, as its provenance holds it; None for older runs.

        Raises:
            InputError: where the run's source prepared its images in a way that single files cannot be, and for an
                acquisition that is damaged.
        """
        source = data["source"]
        changed = [name for name, idle in _OF_THE_SOURCE.items() if source.get(name, idle) != idle]
        if changed:
            raise InputError(
                f"the run's images were prepared with {', '.join(f'data.source.{name}' for name in changed)}, which "
                "vesalius predict cannot apply to files by themselves: evaluate the run on a whole data set instead."
            )
        try:
            acquired = AcquisitionRange.from_dict(acquisition)
        except ValueError as error:
            raise InputError(f"the run's provenance is damaged ({error}): take it from a backup.") from None
        window = source.get("window", "auto")
        series, timed = facts.sequence_length is not None, facts.time_step is not None
        usual: Unit = "slice" if not series else "time_series" if timed else "volume"
        of_dicom = str(source["_target_"]).endswith(".Dicom")
        rate = source.get("frame_rate")
        return cls(
            read=ReadOptions(source.get("unit") or usual, to_window(window), source.get("plane", "axial")),
            one_window=of_dicom,
            bits=data.get("bits") or (16 if of_dicom and not isinstance(window, str) else None),
            channels=facts.channels,
            converts_channels=data.get("channels") is not None or source.get("channels") is not None,
            image_size=facts.image_size,
            resizes=data.get("image_size") is not None,
            fit=data.get("fit", "stretch"),
            value_max=facts.value_max,
            series=series,
            timed=timed,
            frame_seconds=source.get("repetition_time") or (None if rate is None else 1 / rate),
            acquisition=acquired,
            mask_text=bool(source.get("mask_text", False)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, as a bundle's manifest holds them."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**plain, "acquisition": self.acquisition.to_dict()}

    def masked(self, loaded: NDArray[Any]) -> NDArray[Any]:
        """An image or a series as it was read, with print masked where the run's own images were."""
        if not self.mask_text:
            return loaded
        from vesalius.data.formats.overlays import mask_print  # imports scipy

        return mask_print(loaded)

    def check_header(self, header: Acquisition, name: str) -> None:
        """Refuse an image that was acquired otherwise than the training images.

        Args:
            header: what the header of its file states.
            name: what messages call it.

        Raises:
            InputError: for another modality or plane, or pixels that are far larger or smaller.
        """
        problem = self.acquisition.problem(header, self.image_size)
        if problem is not None:
            raise InputError(f"{name} {problem}.")

    def image(self, image: NDArray[Any], name: str) -> NDArray[Any]:
        """An image as the model takes it, or a frame of a series.

        Args:
            image: (C, H, W), as it was read.
            name: what messages call it.

        Returns:
            (C, H, W) of the contract's channels, size and type.

        Raises:
            InputError: if it cannot become that without a change that the run's own images did not have.
        """
        try:
            image = convert_bits(image, self.bits)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if image.dtype != self.dtype:
            raise InputError(f"{name} has {image.dtype} values, and the run's images had {self.dtype}: convert it.")
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise InputError(f"{name} has pixels that are NaN or infinite: replace them.")
        if len(image) != self.channels and not self.converts_channels:
            kinds = {1: "grey", 3: "RGB"}
            found, wanted = (kinds.get(count, f"of {count} channels") for count in (len(image), self.channels))
            raise InputError(f"{name} is {found}, and the run's images were {wanted}: convert it.")
        image = adapt_channels(image, self.channels)
        if image.shape[1:] == self.image_size:
            return image
        if not self.resizes:
            found, wanted = ("x".join(map(str, size)) for size in (image.shape[1:], self.image_size))
            raise InputError(f"{name} has {found} pixels, and the run's images had {wanted}: bring it to that size.")
        return resize(image, self.image_size, self.fit)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels: uint8, uint16 or float32."""
        return np.dtype({255.0: "uint8", 65535.0: "uint16"}.get(self.value_max, "float32"))
