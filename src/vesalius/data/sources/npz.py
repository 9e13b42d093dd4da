"""Images and labels in one `.npz` of the user's own."""

import hashlib
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.npz import NpzImages, read_member
from vesalius.data.remote.mirror import local_file
from vesalius.data.samples import SPLITS, subgroup_problems
from vesalius.data.sources.base import Source
from vesalius.data.sources.patients import unify_patients
from vesalius.data.sources.tables.labels import whole_targets
from vesalius.data.sources.tables.target_cells import Targets, TaskOption, read_targets
from vesalius.data.sources.vocabulary import SPLIT_WORDS, missing_patients

logger = logging.getLogger("vesalius")

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, NotImplementedError)


class Npz(Source):
    """Arrays of images, labels and patients, for each split (`train_images`, `train_labels`, ...) or for all together.

    Names of splits may be any of `SPLIT_WORDS`, in front (`train_images`) or behind (`x_train`). Images are (n, H, W),
    (n, H, W, 1) or (n, H, W, 3); with `unit`, (n, D, H, W). `sample_id` is the split and the number in its array.

    Args:
        file: the `.npz`.
        images: the name of the array of images, without that of the split.
        target: that of the labels: (n,) or (n, 1) of numbers or words, or (n, K) of 0 and 1 (`multilabel`) or of
            numbers (`regression`); None for data without.
        group: that of the patients; None takes each image for a patient of its own.
        classes: the classes in the order wanted; for several columns of labels, their names.
        task: the meaning of the labels (see `Labels`).
        replace: what labels are read as; None for no value.
        subgroups: arrays to report on, (n,) of words or whole numbers.
        unit: of volumes: a `volume`, as a series of its slices, or a `slice`; None for images.

    Raises:
        InputError: with every problem of the file and of these settings.
    """

    def __init__(
        self,
        file: str,
        images: str = "images",
        target: str | None = "labels",
        group: str | None = None,
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        replace: Mapping[str, str | None] | None = None,
        unit: Literal["slice", "volume"] | None = None,
        subgroups: Sequence[str] = (),
    ) -> None:
        self._file = local_file(file)
        self.unit, self.series = unit, unit == "volume"
        self._names = self._list_arrays()
        self._array_name, self._images = images, self._open(images)
        self._groups = None if group is None else self._patients(group)
        if problems := subgroup_problems(subgroups):
            raise InputError(problems)
        self._subgroups = {name: self._subgroup(name) for name in subgroups}
        targets = self._read_targets(target, classes, task, replace or {})
        self.task, self.classes, self._values = targets.task, targets.classes, targets.columns
        if group is None:
            logger.warning("every image is taken for a patient of its own, since data.source.group is not set.")

    def samples(self) -> pd.DataFrame:
        """The table; `split` is missing where all images are in one array."""
        splits = [split for split, part in self._images.items() for _ in range(len(part))]
        numbers = [number for part in self._images.values() for number in range(len(part))]
        ids = [f"{split}/{number:06d}".lstrip("/") for split, number in zip(splits, numbers, strict=True)]
        groups = ids if self._groups is None else unify_patients(self._groups, ids, where="samples")
        fixed = pd.Series([split or None for split in splits], dtype=object)
        table = pd.DataFrame({"sample_id": ids, "group_id": groups, "split": fixed}).join(self._values)
        table = table.assign(**self._subgroups)
        table = whole_targets(table, self.task).assign(_array=splits, _number=numbers)
        if self.unit != "slice":
            return table
        depths = {split: part.shape[1] for split, part in self._images.items()}
        places = [place for split in splits for place in range(depths[split])]
        table = table.loc[table.index.repeat([depths[split] for split in splits])].reset_index(drop=True)
        names = [f"{name}_z{place:03d}" for name, place in zip(table["sample_id"], places, strict=True)]
        return table.assign(sample_id=names, _place=places)

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image (C, H, W), or one volume (T, 1, H, W), uint8 or uint16 as they are, others as float32."""
        try:
            image = self._images[row["_array"]][int(row["_number"])]
        except _DAMAGE as error:
            raise InputError(f"{row['sample_id']}: {self._file.name} is damaged ({error}): write it again.") from error
        if image.dtype == bool:
            image = image.astype(np.uint8) * np.uint8(255)
        elif image.dtype.name not in ("uint8", "uint16"):
            image = image.astype(np.float32)
        if self.unit == "volume":
            return np.ascontiguousarray(image[:, None])
        if self.unit == "slice":
            image = image[int(row["_place"])]
        return image[None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))

    def fingerprint(self) -> str:
        """A digest of the file and of the settings."""
        with self._file.open("rb") as file:
            content = hashlib.file_digest(file, hashlib.blake2b).hexdigest()
        arrays = [(split, part.shape) for split, part in self._images.items()]
        settings = (content, self._array_name, arrays, self.unit)
        return hashlib.blake2b(repr(settings).encode(), digest_size=16).hexdigest()

    def _list_arrays(self) -> dict[tuple[str, str], str]:
        """The name of each array by its split (empty without) and the rest of its name."""
        try:
            with zipfile.ZipFile(self._file) as archive:  # its directory only
                members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except FileNotFoundError:
            raise InputError(f"the file {self._file} does not exist: correct `data.source.file`.") from None
        except _DAMAGE as error:
            raise InputError(f"{self._file.name} is no .npz or is damaged ({error}): write it again.") from error
        return {_split_of(member): member for member in members}

    def _find(self, name: str, option: str) -> dict[str, str]:
        """The member of each split that has an array of this name; of all together under an empty name."""
        fixed: dict[str, str] = {split: self._names[split, name] for split in SPLITS if (split, name) in self._names}
        found = fixed or ({"": self._names["", name]} if ("", name) in self._names else {})
        if not found:
            members = sorted(self._names.values())
            raise InputError(
                f"{self._file.name} has no array `{name}` or `train_{name}`, only {format_list(members, 20)}: correct "
                f"`data.source.{option}`.{did_you_mean(name, {rest for _, rest in self._names})}"
            )
        return found

    def _open(self, name: str) -> dict[str, NpzImages]:
        """The images of each split."""
        images, problems = {}, []
        for split, member in self._find(name, "images").items():
            try:
                images[split] = part = NpzImages(self._file, member)
            except _DAMAGE as error:
                raise InputError(f"{self._file.name}: `{member}` cannot be read ({error}): write it again.") from error
            flat = len(part.shape) == 3 or (len(part.shape) == 4 and part.shape[3] in (1, 3))
            if not (len(part.shape) == 4 if self.unit else flat) or part.dtype.kind not in "buif":
                cure = "set data.source.unit=null" if self.unit and flat else "save it so"
                if not self.unit and len(part.shape) == 4:
                    cure = "if these are volumes, set data.source.unit=slice or volume"
                problems.append(
                    f"`{member}` of {self._file.name} is {part.dtype} of shape {part.shape}, not of numbers and "
                    f"{'(n, D, H, W)' if self.unit else '(n, H, W), (n, H, W, 1) or (n, H, W, 3)'}: {cure}."
                )
        if problems:
            raise InputError(problems)
        return images

    def _column(self, name: str, option: str) -> np.ndarray:
        """The values of an array for all images, in their order: (N, columns)."""
        members, parts = self._find(name, option), []
        for split, images in self._images.items():
            if split not in members:
                raise InputError(f"{self._file.name} has no `{name}` for the split `{split}`: add `{split}_{name}`.")
            try:
                values = read_member(self._file, members[split], len(images))
            except _DAMAGE as error:
                raise InputError(
                    f"{self._file.name}: `{members[split]}` cannot be read ({error}): save it as numbers or text, "
                    "one entry or row for each image."
                ) from error
            if values.ndim not in (1, 2):
                raise InputError(
                    f"`{members[split]}` of {self._file.name} has shape {values.shape}, but there are {len(images)} "
                    "images: give one entry or row for each."
                )
            parts.append(values.reshape(len(values), -1))
        return np.concatenate(parts)

    def _read_targets(
        self,
        target: str | None,
        classes: Sequence[str] | None,
        task: TaskOption,
        replace: Mapping[str, str | None],
    ) -> Targets:
        values = np.zeros((0, 0)) if target is None else self._column(target, "target")
        several = values.shape[1] > 1
        names = [] if target is None else [target]
        if several:
            names = [str(name) for name in classes or [f"{target}_{k}" for k in range(values.shape[1])]]
            if len(names) != values.shape[1]:
                raise InputError(
                    f"`data.source.classes` names {len(names)} of the {values.shape[1]} columns of labels."
                )
        table = pd.DataFrame({name: _texts(column) for name, column in zip(names, values.T, strict=True)}, dtype=object)
        found = read_targets(
            table,
            names,
            classes=None if several else classes,
            task=task,
            separator=None,
            replace=replace,
            option="data.source",
        )
        empty = int(found.columns.isna().any(axis=1).sum())
        if empty:
            raise InputError(f"{empty} of {len(table)} `{target}` of {self._file.name} hold no value: leave them out.")
        return found

    def _subgroup(self, name: str) -> list[str]:
        values = self._column(name, "subgroups")
        if values.shape[1] != 1:
            raise InputError(f"`data.source.subgroups`: `{name}` has {values.shape[1]} columns: name one of values.")
        return _texts(values[:, 0])

    def _patients(self, group: str) -> list[str]:
        values = self._column(group, "group")
        if values.shape[1] != 1:
            raise InputError(f"`data.source.group={group}` has {values.shape[1]} columns: one names the patient.")
        names = _texts(values[:, 0])
        empty = sum(missing_patients(names))
        if empty:
            raise InputError(f"{empty} of {len(names)} `{group}` of {self._file.name} name no patient: fill them in.")
        return names


def _split_of(member: str) -> tuple[str, str]:
    """The split in the name of an array, and the rest: `train_images` and `images_train` are of train."""
    first, _, rest = member.partition("_")
    begin, _, last = member.rpartition("_")
    if rest and first.lower() in SPLIT_WORDS:
        return SPLIT_WORDS[first.lower()], rest
    return (SPLIT_WORDS[last.lower()], begin) if begin and last.lower() in SPLIT_WORDS else ("", member)


def _texts(values: np.ndarray) -> list[str]:
    """Entries as a table would write them."""
    return [value.decode() if isinstance(value, bytes) else str(value).strip() for value in values.tolist()]
