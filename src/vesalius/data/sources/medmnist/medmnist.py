"""The twelve 2-D and six 3-D sets of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023), read without its package."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.addresses import join_address
from vesalius.config.errors import InputError
from vesalius.data.formats.npz import NpzImages, read_member
from vesalius.data.remote.mirror import local_file
from vesalius.data.samples import SPLITS
from vesalius.data.sources.base import Source
from vesalius.data.sources.medmnist.download import download
from vesalius.data.sources.medmnist.sets import DOWNLOAD_URL, SETS, SIZES
from vesalius.data.sources.medmnist.volume_sets import VOLUME_SETS, VOLUME_SIZES

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, NotImplementedError)


class MedMNIST(Source):
    """One of the sets, with its official split.

    The files have no patients, so each image or volume is a group of its own (the slices of a volume share theirs):
    intervals take them as independent, which they are not in the sets cut from CT (`organ*mnist`, `organmnist3d`,
    `fracturemnist3d`), in tissue slides (`pathmnist`, `tissuemnist`), repeated chest films (`chestmnist`), or glands of
    the same patient (`adrenalmnist3d`). Some sets also share images between their splits.

    Args:
        name: such as `breastmnist` or `adrenalmnist3d`.
        root: folder of the `.npz` files; None means `~/.medmnist`, where the `medmnist` package keeps them.
        size: sides of the images, in pixels: 28, 64, 128 or 224; of the volumes: 28 or 64.
        download: fetch the file if it does not exist.
        verify: refuse a file that is not the official one (by MD5; about two seconds per gigabyte).
        base_url: the address to fetch from.
        unit: of a 3-D set: `volume` (a series of its slices; the default) or `slice` (an image); None for a 2-D set.
        axis: the axis of a volume that counts its slices: 0, 1 or 2.

    Raises:
        InputError: if there is no such set or size, or it has no such unit.
    """

    def __init__(
        self,
        name: str,
        root: str | None = None,
        size: int = 28,
        download: bool = False,
        verify: bool = True,
        base_url: str = DOWNLOAD_URL,
        unit: Literal["slice", "volume"] | None = None,
        axis: Literal[0, 1, 2] = 0,
    ) -> None:
        volumes = name in VOLUME_SETS
        sizes = VOLUME_SIZES if volumes else SIZES
        problems = []
        if not volumes and name not in SETS:
            known = ", ".join([*SETS, *VOLUME_SETS])
            problems.append(
                f"`data.source.name={name}` is no MedMNIST set: take one of {known}; for an .npz of "
                "your own, set data=npz."
            )
        if size not in sizes:
            kind = "size of a 3-D MedMNIST set" if volumes else "MedMNIST size"
            problems.append(f"`data.source.size={size}` is no {kind}: take one of {', '.join(map(str, sizes))}.")
        if unit is not None and name in SETS:
            problems.append(f"`data.source.unit={unit}`: {name} has single images; leave it null.")
        if problems:
            raise InputError(problems)
        self.name, self.size, self.axis = name, size, axis
        self.unit = (unit or "volume") if volumes else None
        self.series = self.unit == "volume"
        self.facts = VOLUME_SETS[name] if volumes else SETS[name]
        self.task, self.classes = self.facts.task, self.facts.classes
        self.public_names = (name,)
        file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
        folder = str(root) if root is not None else "~/.medmnist"
        self.path = local_file(join_address(folder, file))
        self._url = f"{base_url.rstrip('/')}/{file}?download=1"
        self._download, self._verify = download, verify
        self._images: dict[str, NpzImages] = {}

    def samples(self) -> pd.DataFrame:
        """The table; `sample_id` is the split and the number in it: `train/000012`; for a slice `train/000012_z07`."""
        self._require_file()
        tables = []
        for split in SPLITS:
            labels = self._labels(split)
            ids = [f"{split}/{number:06d}" for number in range(len(labels))]
            columns: dict[str, Any] = {"sample_id": ids, "group_id": ids, "split": split}
            if self.task == "multilabel":
                columns |= {f"target/{name}": labels[:, k] for k, name in enumerate(self.classes)}
            else:
                columns["target"] = labels[:, 0]
            tables.append(pd.DataFrame(columns))
        table = pd.concat(tables, ignore_index=True)
        return self._slices(table) if self.unit == "slice" else table

    def _slices(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row per slice of each volume."""
        several = table.loc[table.index.repeat(self.size)].reset_index(drop=True)
        places = several.index % self.size
        names = [f"{name}_z{place:02d}" for name, place in zip(several["sample_id"], places, strict=True)]
        return several.assign(sample_id=names, _place=places)

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (1, H, W) or (3, H, W), or one volume as (T, 1, H, W); uint8."""
        self._require_file()
        split, _, number = str(row["sample_id"]).partition("_")[0].partition("/")
        try:
            image = self._images[split][int(number)]
        except _DAMAGE as error:
            raise InputError(
                f"{row['sample_id']}: {self.path.name} cannot be read ({error}): it is damaged; delete it and set "
                "`data.source.download=true`."
            ) from error
        if self.unit == "volume":
            return np.ascontiguousarray(np.moveaxis(image, self.axis, 0)[:, None])
        if self.unit == "slice":
            return np.ascontiguousarray(np.moveaxis(image, self.axis, 0)[int(row["_place"]), None])
        return image[None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))

    def fingerprint(self) -> str:
        """The MD5 of the file; for a 3-D set a digest of it, the unit and the axis."""
        self._require_file()
        if self.unit is None:
            return self._md5
        settings = (self._md5, self.unit, self.axis)
        return hashlib.blake2b(repr(settings).encode(), digest_size=16).hexdigest()

    @cached_property
    def _md5(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def _require_file(self) -> None:
        """Check, once, that the file exists and is the right one; fetch it if asked to."""
        if self._images:
            return
        expected = self.facts.md5[self.size] if self._verify else None
        if not self.path.is_file():
            if not self._download:
                raise InputError(
                    f"{self.path} does not exist: set `data.source.download=true`, or fetch {self._url} and put it "
                    "there, or name its folder in `data.source.root`."
                )
            download(self._url, self.path, md5=expected)
        if expected is not None and self._md5 != expected:
            raise InputError(
                f"{self.path} is not the official file (its MD5 is {self._md5}, not {expected}): delete it and set "
                "`data.source.download=true`, or set `data.source.verify=false` if you wrote it yourself."
            )
        try:
            images: dict[str, NpzImages] = {split: NpzImages(self.path, f"{split}_images") for split in SPLITS}
        except _DAMAGE as error:
            raise self._damaged(error) from error
        shape: tuple[int, ...] = (self.size,) * (2 if self.unit is None else 3)
        shape = shape if self.facts.channels == 1 else (*shape, 3)
        wrong = [
            f"{self.path}: `{split}_images` has shape {array.shape} and type {array.dtype}, not (n, "
            f"{', '.join(map(str, shape))}) and uint8: it is not `{self.name}` at {self.size} pixels."
            for split, array in images.items()
            if array.shape[1:] != shape or array.dtype != np.uint8
        ]
        if wrong:
            raise InputError(wrong)
        self._images = images

    def _labels(self, split: str) -> np.ndarray:
        try:
            labels = read_member(self.path, f"{split}_labels", len(self._images[split]))
        except _DAMAGE as error:
            raise self._damaged(error) from error
        columns = len(self.classes) if self.task == "multilabel" else 1
        expected = (len(self._images[split]), columns)
        if labels.shape != expected:
            raise InputError(
                f"{self.path}: `{split}_labels` has shape {labels.shape}, but there are {expected[0]} images and "
                f"{columns} label(s) per image: the file is not a MedMNIST file; fetch it again."
            )
        return labels.astype(np.int64)

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self.path} cannot be read ({error}): it is damaged; delete it and set `data.source.download=true`."
        )
