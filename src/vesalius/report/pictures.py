"""Pictures of the page: a run's figures made small, and thumbnails of test images from the run's own data."""

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
from vesalius.config.errors import VesaliusError
from vesalius.runs.redaction import WITHOUT_PIXELS, text_was_found
from vesalius.runs.run import Run

if TYPE_CHECKING:
    from vesalius.data.sources.base import Source

#: Why there are no images of a run whose audit found text in them.
HIDDEN = "No images are shown: the run's audit found signs of text in pixels, which may be a name, or cannot be read."
# Drawn on the page itself, from the numbers.
_DRAWN = ("history", "roc", "calibration", "confusion_matrix", "scatter")
_GRIDS = 4
_FIGURE, _THUMBNAIL, _FRAMES = 1000, 112, 4


@dataclass
class Budget:
    """How many more characters of pictures a page may hold.

    Attributes:
        left: characters.
        refused: pictures that found no room.
    """

    left: int = 2_000_000
    refused: int = 0

    def take(self, picture: str) -> bool:
        """Whether there is room; takes it."""
        if len(picture) > self.left:
            self.refused += 1
            return False
        self.left -= len(picture)
        return True


def figures_of(run: Run, budget: Budget) -> list[dict[str, str]]:
    """`title` and `uri` of each figure that the page does not draw itself, and of a few sample grids of a generator.

    Where the run's audit found text in pixels, those without pixels alone: made images may repeat real ones.
    """
    assert run.folder is not None
    hidden = text_was_found(run.folder.path)
    paths = [path for path in sorted(run.folder.figures.glob("*.png")) if path.stem not in _DRAWN]
    grids = sorted((run.folder.path / "samples").glob("*.png"))
    if hidden:
        paths = [path for path in paths if path.stem in WITHOUT_PIXELS]
    elif grids:
        paths += [grids[at] for at in np.unique(np.linspace(0, len(grids) - 1, _GRIDS).astype(int))]
    told = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                uri = _shrunk(picture.convert("RGB"), _FIGURE)
        except (OSError, ValueError):
            continue  # half written, or no picture
        if budget.take(uri):
            told.append({"title": path.stem.replace("_", " "), "uri": uri})
    return told


def add_thumbnails(run: Run, worst: Sequence[dict[str, str]], budget: Budget) -> str | None:
    """Add an `image` to each sample that can be shown; decodes these alone.

    Args:
        run: finished.
        worst: entries with a `sample_id`.
        budget: of the page.

    Returns:
        Why there are no images, in a sentence; None where there are.
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
            return "The data are no longer those that the run was judged on: no images are shown."
        for entry in worst:
            if entry["sample_id"] in table.index:
                row = {str(name): value for name, value in table.loc[entry["sample_id"]].items()}
                uri = _thumbnail(source.load(row))
                if budget.take(uri):
                    entry["image"] = uri
    except (VesaliusError, OSError, ImportError, KeyError):
        # What was missing may name a patient's folder: the page is passed on more easily than the data.
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
    return _shrunk(picture, _THUMBNAIL * (len(frames) if image.ndim == 4 else 1))


def _shrunk(picture: Image.Image, width: int) -> str:
    """A data URI, at most so wide: PNG for few colours, else JPEG, whichever is shorter."""
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    made = []
    for kind, options in (("PNG", {"compress_level": 7}), ("JPEG", {"quality": 82})):
        content = io.BytesIO()
        picture.save(content, kind, **options)
        made.append(f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}")
    return min(made, key=len)


def read_asset(name: str) -> str:
    """A file beside this one: the template, the style sheet, the script."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
