"""Images of a generator, as training samples next to real ones."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.plain import read_json
from vesalius.data.formats.images import DECODER_VERSION, decode_image
from vesalius.data.samples import UNUSED
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.splits.file import SYNTHETIC, split_hash
from vesalius.data.store.store import Store

logger = logging.getLogger("vesalius")

KIND, SCHEMA = "vesalius synthetic images", 1
MANIFEST, LIST = "manifest.json", "manifest.csv"

Ratio = float | Literal["only"]


class SyntheticImages(Source):
    """A folder that `vesalius synthesize` wrote: labelled images of a class-conditional generator.

    Args:
        root: the folder; `manifest.json` names the generator, `manifest.csv` the label of each file.
        classes: of the real data, in its order; a target is an index into them.

    Attributes:
        manifest: the content of `manifest.json`.

    Raises:
        InputError: for any other folder, an unfinished one, or one of other classes or none.
    """

    task = "multiclass"

    def __init__(self, root: str | Path, classes: Sequence[str]) -> None:
        self.root, self.classes = Path(root).expanduser(), tuple(classes)
        self.manifest = _read_manifest(self.root)
        _check_classes(self.manifest["classes"], self.classes)
        self._list = self._read_list()

    def samples(self) -> pd.DataFrame:
        """`sample_id` and `group_id` (`synthetic/<number>`), `split` (train), `target`, in the order of the list."""
        files = self._list["file"].tolist()
        ids = [SYNTHETIC + Path(file).stem for file in files]
        number_of = {name: number for number, name in enumerate(self.classes)}
        targets = [number_of[label] for label in self._list["label"]]
        return pd.DataFrame({"sample_id": ids, "group_id": ids, "split": "train", "target": targets, "_file": files})

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (C, H, W), of the type that the generator learned from; of float32, white is 1."""
        image = decode_image(self.root / str(row["_file"]), str(row["sample_id"]))
        if self.value_max == 1:
            return image.astype(np.float32) / np.iinfo(image.dtype).max
        if self.value_max == 65535 and image.dtype == np.uint8:  # of colour, PNG files hold 8 bits
            return image.astype(np.uint16) * 257
        return image

    def fingerprint(self) -> str:
        """Of every file's path and content, and the scale; one read of all files."""
        settings = [DECODER_VERSION, self.value_max]
        return content_digest(self.root, self._list["file"].tolist(), settings)

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The image file."""
        return [self.root / str(row["_file"])]

    @property
    def value_max(self) -> float:
        """White in the images that the generator learned from: 255, 65535, or 1 for floats."""
        return float(self.manifest["image"]["value_max"])

    def check_images(self, real: Store, value_max: float, image_size: object) -> None:
        """Refuse images that do not fit the real ones.

        Args:
            real: the real images, decoded.
            value_max: white in them.
            image_size: what images are decoded to; None keeps their own size, which must then agree.

        Raises:
            InputError: with every difference, and the cure.
        """
        image, (channels, height, width) = self.manifest["image"], real.shape
        problems = []
        if image["channels"] != channels:
            problems.append(
                f"data.synthetic: its images have {image['channels']} channel(s), the real ones {channels}: set "
                f"data.channels={image['channels']}, or synthesize from a generator that was trained with "
                f"data.channels={channels}."
            )
        if self.value_max != value_max:
            problems.append(
                f"data.synthetic: white is {self.value_max:g} in its images and {value_max:g} in the real ones: "
                "synthesize from a generator that was trained on this data."
            )
        if image_size is None and (image["height"], image["width"]) != (height, width):
            problems.append(
                f"data.synthetic: its images are {image['height']}x{image['width']} pixels, the real ones "
                f"{height}x{width}: set data.image_size, to which all are then resized."
            )
        if problems:
            raise InputError(problems)
        if (image["height"], image["width"]) != (height, width):
            logger.warning(
                "data.synthetic: its images are resized to %dx%d pixels from %dx%d: real ones may be sharper.",
                *(height, width, image["height"], image["width"]),
            )

    def _read_list(self) -> pd.DataFrame:
        try:
            table = pd.read_csv(self.root / LIST, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise _damaged(self.root, f"{LIST} cannot be read ({error})") from error
        if not {"file", "label"} <= set(table.columns):
            raise _damaged(self.root, f"{LIST} has no columns `file` and `label`")
        outside = [file for file in table["file"] if not _lies_in(self.root, file)]
        if outside:
            raise _damaged(self.root, f"{LIST} names files that are not in the folder: {format_list(outside)}")
        stems = table["file"].map(lambda file: Path(file).stem)
        foreign = sorted(set(table["label"]) - set(self.classes))
        missing = [file for file in table["file"] if not (self.root / file).is_file()]
        findings = {
            f"{LIST} has {len(table)} rows, not {self.manifest['n']} as {MANIFEST}": len(table) != self.manifest["n"],
            f"{LIST} has labels that are not among the classes: {format_list(foreign)}": foreign,
            "its files are not numbered": stems.duplicated().any() or not stems.str.fullmatch("[0-9]+").all(),
            f"{len(missing)} of its files are missing: {format_list(missing)}": missing,
        }
        if problems := [sentence for sentence, found in findings.items() if found]:
            raise _damaged(self.root, "; ".join(problems))
        return table


def mix(table: pd.DataFrame, synthetic: SyntheticImages, ratio: Ratio) -> pd.DataFrame:
    """The split table with synthetic training samples after the real ones.

    Classes keep their shares of the folder, and the first images of each are taken: smaller ratios lie inside larger.

    Args:
        table: real samples, each with its split.
        synthetic: where the synthetic ones come from.
        ratio: synthetic samples per real training sample; `only` takes all there are, and marks the real training
            samples as `unused`.

    Raises:
        InputError: if the folder holds too few.
    """
    added = synthetic.samples().drop(columns="_file")
    if ratio == "only":
        absent = [name for number, name in enumerate(synthetic.classes) if number not in set(added["target"])]
        if absent:
            raise InputError(
                f"data.synthetic_ratio=only: the folder has no image of {format_list(absent)}: synthesize every class "
                "(leave out label=...)."
            )
        table = table.assign(split=table["split"].mask(table["split"] == "train", UNUSED))
    else:
        real = int((table["split"] == "train").sum())
        wanted = round(ratio * real)
        if not 1 <= wanted <= len(added):
            cure = (
                f"synthesize more (vesalius synthesize run=... n={wanted}), or lower the ratio"
                if wanted
                else "raise the ratio"
            )
            raise InputError(
                f"data.synthetic_ratio={ratio:g}: for {real} real training images this takes {wanted} synthetic ones, "
                f"and the folder holds {len(added)}: {cure}."
            )
        added = added[_first_of_each(added["target"].to_numpy(), wanted)]
    others = [name for name in table.columns if name not in added]
    # Columns that synthetic images lack hold None: NaN would turn whole numbers of the real ones into floats.
    empty = pd.DataFrame(None, index=added.index, columns=others, dtype=object)
    added = pd.concat([added, empty], axis=1)[list(table.columns)]
    return pd.concat([table, added], ignore_index=True)


def check_split(table: pd.DataFrame, synthetic: SyntheticImages) -> None:
    """Refuse images of a generator that may have learned from this run's validation or test patients.

    Raises:
        InputError: if the generator's split is not the table's.
    """
    if synthetic.manifest["split"] != split_hash(table):
        raise InputError(
            "data.synthetic: the generator saw another split: its images may hold this run's test patients. Train on "
            f"the generator's (data.split_file=RUN/split.csv, RUN being {synthetic.manifest['run']}), or synthesize "
            "from a generator that was trained on this run's (data.split_file=..., and the same data.train_fraction)."
        )


def check_ratio(ratio: Ratio) -> None:
    """Refuse an invalid ratio.

    Raises:
        InputError: for anything but a number above 0 or `only`.
    """
    number = isinstance(ratio, int | float) and not isinstance(ratio, bool) and math.isfinite(ratio) and ratio > 0
    if not number and ratio != "only":
        raise InputError(
            f"data.synthetic_ratio={ratio}: must be a number above 0, or only; data.synthetic=null takes only real "
            "images."
        )


def _first_of_each(targets: np.ndarray, wanted: int) -> np.ndarray:
    """Which samples are the first `wanted` ones, spread over the classes by their shares: (N,) bool."""
    classes, counts = np.unique(targets, return_counts=True)
    exact = counts * wanted / len(targets)
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: wanted - shares.sum()]] += 1  # the largest remainders
    chosen = np.zeros(len(targets), dtype=bool)
    for name, share in zip(classes, shares, strict=True):
        chosen[np.flatnonzero(targets == name)[:share]] = True
    return chosen


def _read_manifest(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise InputError(f"data.synthetic: there is no folder {root}: name one that `vesalius synthesize` wrote.")
    try:
        manifest = read_json(root / MANIFEST)
    except FileNotFoundError:
        raise InputError(
            f"data.synthetic: {root} has no {MANIFEST}, which is written last: it is unfinished, or not a folder of "
            "`vesalius synthesize`; synthesize again, or name the folder that has one."
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(root, f"{MANIFEST} cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND or manifest.get("schema") != SCHEMA:
        raise _damaged(root, f"{MANIFEST} is not of kind '{KIND}', schema {SCHEMA}")
    missing = [name for name in ("run", "n", "classes", "split", "image") if name not in manifest]
    sizes = ("channels", "height", "width", "value_max")
    missing += [f"image.{name}" for name in sizes if name not in manifest.get("image", sizes)]
    if missing:
        raise _damaged(root, f"{MANIFEST} lacks {', '.join(missing)}")
    image, classes = manifest["image"], manifest["classes"]
    numbers = [manifest["n"], *(image[name] for name in sizes)]
    if not all(isinstance(number, int | float) and number > 0 for number in numbers) or not isinstance(classes, list):
        raise _damaged(root, f"{MANIFEST} has no numbers where sizes are, or no list of classes")
    if image["value_max"] not in (255, 65535, 1):
        raise _damaged(root, f"{MANIFEST} has a white of {image['value_max']}, and not 255, 65535 or 1")
    return manifest


def _lies_in(root: Path, file: str) -> bool:
    """Whether a path leads to a file of the folder, without steps upwards and links."""
    pure = PurePath(file)
    inside = not pure.is_absolute() and ".." not in pure.parts and "\0" not in file
    return inside and (root / file).resolve().is_relative_to(root.resolve())


def _check_classes(synthetic: Sequence[str], real: Sequence[str]) -> None:
    if not synthetic:
        raise InputError(
            "data.synthetic: its images have no labels, and this model learns from labels: synthesize from a "
            "class-conditional generator (train it with model.conditional=true on labelled data)."
        )
    if set(synthetic) != set(real):
        raise InputError(
            f"data.synthetic: its classes are {format_list(synthetic)}, those of the real data {format_list(real)}: "
            "synthesize from a generator that was trained on this data."
        )


def _damaged(root: Path, reason: str) -> InputError:
    return InputError(f"data.synthetic: {root} is damaged: {reason}; synthesize again.")
