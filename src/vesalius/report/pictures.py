"""Pictures of the page: figures of a run, scaled down, and thumbnails of test images from the run's own data."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.config.build import build
from vesalius.config.errors import InputError, VesaliusError
from vesalius.data.formats.images import adapt_channels, convert_bits, decode_image
from vesalius.runs.redaction import WITHOUT_PIXELS, text_was_found
from vesalius.runs.run import Run

if TYPE_CHECKING:
    from vesalius.data.sources.base import Source

#: Why there are no images of a run whose audit found text in them.
HIDDEN = "No images are shown: the run's audit found signs of text in pixels, which may be a name, or cannot be read."
# Figures that the page draws itself, from the numbers.
_DRAWN = ("history", "roc", "calibration", "confusion_matrix", "scatter", "decision_curve", "abstention")
_GRIDS = 4
_FIGURE, _THUMBNAIL, _FRAMES = 1000, 112, 4


@dataclass
class Budget:
    """How many more characters of pictures a page may hold.

    Attributes:
        left: characters.
        refused: pictures that did not fit.
    """

    left: int = 2_000_000
    refused: int = 0

    def take(self, picture: str) -> bool:
        """Reserve room for a picture; False if there is none."""
        if len(picture) > self.left:
            self.refused += 1
            return False
        self.left -= len(picture)
        return True


def figures_of(run: Run, budget: Budget) -> list[dict[str, str]]:
    """`title` and `uri` of each figure that the page does not draw itself, and of a few sample grids of a generator.

    Where the run's audit found text in pixels, only those without pixels: synthetic images may repeat real ones.
    """
    assert run.folder is not None
    hidden = text_was_found(run.folder.path)
    paths = [path for path in sorted(run.folder.figures.glob("*.png")) if path.stem not in _DRAWN]
    grids = sorted((run.folder.path / "samples").glob("*.png"))
    if hidden:
        paths = [path for path in paths if path.stem in WITHOUT_PIXELS]
    elif grids:
        paths += [grids[at] for at in np.unique(np.linspace(0, len(grids) - 1, _GRIDS).astype(int))]
    figures = []
    for path in paths:
        try:
            pixels = adapt_channels(convert_bits(decode_image(path), 8), 3)
            uri = _shrink(Image.fromarray(pixels.transpose(1, 2, 0)), _FIGURE)
        except InputError:
            continue  # half written, or no picture
        if budget.take(uri):
            figures.append({"title": path.stem.replace("_", " "), "uri": uri})
    return figures


def add_thumbnails(run: Run, worst: Sequence[dict[str, str]], budget: Budget) -> str | None:
    """Add an `image` to each sample that can be shown; only these are decoded.

    Args:
        run: finished.
        worst: entries with a `sample_id`.
        budget: of the page.

    Returns:
        Why there are no images, as a sentence; None if there are.
    """
    assert run.folder is not None
    if text_was_found(run.folder.path):
        return HIDDEN
    if not worst:
        return None
    try:
        source: Source = build(run.config["data"]["source"], "data.source")
        table = source.samples().set_index("sample_id", drop=False)
        if source.fingerprint() != run.provenance.get("data"):
            return "The data have changed since the run was evaluated: no images are shown."
        for entry in worst:
            if entry["sample_id"] in table.index:
                row = {str(name): value for name, value in table.loc[entry["sample_id"]].items()}
                uri = _thumbnail(source.image(row))
                if budget.take(uri):
                    entry["image"] = uri
    except (VesaliusError, OSError, ImportError, KeyError):
        # The error may name a patient's folder, and a page is passed on more easily than data.
        return "The data of the run cannot be read here: no images are shown."
    return None


def _thumbnail(image: NDArray[Any]) -> str:
    """An image, or a few frames of a series side by side, stretched to their own range of grey."""
    frames = image[None] if image.ndim == 3 else image
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, _FRAMES).astype(int))].astype(np.float64)
    low, high = np.nanpercentile(frames, [0.5, 99.5])
    scaled = np.nan_to_num(np.clip((frames - low) / ((high - low) or 1.0), 0, 1) * 255).astype(np.uint8)
    strip = np.concatenate([frame if len(frame) in (1, 3) else frame[:1] for frame in scaled], axis=2)
    picture = Image.fromarray(strip.transpose(1, 2, 0) if len(strip) == 3 else strip[0])
    return _shrink(picture, _THUMBNAIL * (len(frames) if image.ndim == 4 else 1))


def _shrink(picture: Image.Image, width: int) -> str:
    """A data URI of a picture at most `width` wide, as PNG or JPEG, whichever is shorter."""
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    uris = []
    for kind, options in (("PNG", {"compress_level": 7}), ("JPEG", {"quality": 82})):
        content = io.BytesIO()
        picture.save(content, kind, **options)
        uris.append(f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}")
    return min(uris, key=len)


def read_asset(name: str) -> str:
    """Text of a file of this package: the template, the style sheet, the script."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
