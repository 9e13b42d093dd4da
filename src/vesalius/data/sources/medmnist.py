"""The twelve 2-D sets of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023), read without its package."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.sources.base import Source
from vesalius.data.sources.download import download
from vesalius.data.sources.medmnist_sets import DOWNLOAD_URL, SETS, SIZES
from vesalius.data.sources.npz import NpzImages

SPLITS = ("train", "val", "test")
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError)


class MedMNIST(Source):
    """One of the sets, with its official split.

    The files do not say which patient an image is of, so every image is a group of its own: intervals take images as
    independent, which they are not in the sets cut from CT volumes (`organ*mnist`), tissue slides (`pathmnist`,
    `tissuemnist`) or repeated chest films (`chestmnist`). Some sets also share images between their splits.

    Args:
        name: such as `breastmnist`.
        root: folder of the `.npz` files; None means `~/.medmnist`, where the `medmnist` package keeps them.
        size: height and width of the images, in pixels: 28, 64, 128 or 224.
        download: fetch the file if it is not there.
        verify: refuse a file that is not the official one (by MD5; about two seconds a gigabyte).
        base_url: where to fetch from.

    Raises:
        InputError: if there is no such set or size.
    """

    def __init__(
        self,
        name: str,
        root: str | None = None,
        size: int = 28,
        download: bool = False,
        verify: bool = True,
        base_url: str = DOWNLOAD_URL,
    ) -> None:
        problems = []
        if name not in SETS:
            problems.append(f"`data.source.name={name}` is no 2-D MedMNIST set: take one of {', '.join(SETS)}.")
        if size not in SIZES:
            problems.append(f"`data.source.size={size}` is no MedMNIST size: take one of {', '.join(map(str, SIZES))}.")
        if problems:
            raise InputError(problems)
        self.name, self.size = name, size
        self.facts = SETS[name]
        self.task, self.classes = self.facts.task, self.facts.classes
        file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
        self.path = (Path(root) if root is not None else Path.home() / ".medmnist").expanduser() / file
        self._url = f"{base_url.rstrip('/')}/{file}?download=1"
        self._download, self._verify = download, verify
        self._images: dict[str, NpzImages] = {}

    def samples(self) -> pd.DataFrame:
        """The table; `sample_id` is the split and the number in it, as `train/000012`."""
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
        return pd.concat(tables, ignore_index=True)

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (1, H, W) or (3, H, W), uint8."""
        self._require_file()
        split, _, number = str(row["sample_id"]).partition("/")
        try:
            image = self._images[split][int(number)]
        except _DAMAGE as error:
            raise InputError(
                f"{row['sample_id']}: {self.path.name} cannot be read ({error}): it is damaged; delete it and set "
                "`data.source.download=true`."
            ) from error
        return image[None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))

    def fingerprint(self) -> str:
        """The MD5 of the file, which fixes every pixel and label."""
        self._require_file()
        return self._md5

    @cached_property
    def _md5(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def _require_file(self) -> None:
        """Make sure, once, that the file is there and is what it should be."""
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
                "`data.source.download=true`, or set `data.source.verify=false` if you made it yourself."
            )
        try:
            images = {split: NpzImages(self.path, f"{split}_images") for split in SPLITS}
        except _DAMAGE as error:
            raise self._damaged(error) from error
        shape = (self.size, self.size) if self.facts.channels == 1 else (self.size, self.size, 3)
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
            with np.load(self.path, allow_pickle=False) as archive:
                labels = np.asarray(archive[f"{split}_labels"])
        except _DAMAGE as error:
            raise self._damaged(error) from error
        columns = len(self.classes) if self.task == "multilabel" else 1
        expected = (len(self._images[split]), columns)
        if labels.shape != expected:
            raise InputError(
                f"{self.path}: `{split}_labels` has shape {labels.shape}, but there are {expected[0]} images and "
                f"{columns} label(s) an image: the file is not a MedMNIST file; fetch it again."
            )
        return labels.astype(np.int64)

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self.path} cannot be read ({error}): it is damaged; delete it and set `data.source.download=true`."
        )
