"""What a request may cost."""

from dataclasses import dataclass, fields

from vesalius.config.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The most that is accepted.

    Attributes:
        megabytes: of the body of a request, and of the files in a zip archive once unpacked.
        files: of a request, and in a zip archive.
        pixels: of all images of a request before they are resized, counted before any is decoded.
        frames: of all images and series of a request.
        seconds: for receiving a request, and again for predicting; where all are busy, also for waiting.
        requests: that are received or predicted at the same time.

    Raises:
        InputError: for a limit that is not above 0.
    """

    megabytes: float
    files: int
    pixels: int
    frames: int
    seconds: float
    requests: int

    def __post_init__(self) -> None:
        wrong = {one.name: getattr(self, one.name) for one in fields(self) if not getattr(self, one.name) > 0}
        if wrong:
            raise InputError([f"limits.{name}={value}: must be above 0." for name, value in wrong.items()])

    @property
    def bytes(self) -> int:
        """`megabytes` as bytes."""
        return int(self.megabytes * 2**20)
