"""The interface of every source of images.

How to add a source:

1. Subclass `Source` in a file of this folder. In `__init__`, check the options together and set `task`, `classes` and
   `series`; options with a fixed list of values are annotated with `Literal`, which the check of the config reads.
2. Write `samples`, `load` and `fingerprint`; and `files` where samples are files, so that audits can name them. For
   files below a folder whose targets come from class folders or a table, subclass `LabelledSource` instead: it has the
   options for both and gives the rows.
3. Export the class in `__init__.py`, and add a config with a commented line per option to `conf/data/`.
4. In the tests, add what makes it small to `data_overrides` in `tests/contract/conftest.py`: it is then trained with
   every model that it fits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.data.formats.overlays import MASK_VERSION, mask_print
from vesalius.data.sources.vocabulary import Unit


class Source(ABC):
    """A data set: the table of its samples, and a decoder for each of them.

    A source knows nothing of the model or of the image size that it wants, and of splits only what the data set fixes;
    so every source works with every model that makes sense for it.

    Attributes:
        task: the meaning of the targets.
        classes: names of the classes; a target is an index into them (`multilabel` has a 0/1 column for each). For
            `regression`, names of the continuous targets; for `unlabelled`, empty.
        series: whether `load` returns image series; their lengths may differ.
        unit: what a sample is, where files may hold several.
        public_names: of the public data set that the images are of; none for one's own.
        left_out: after `samples`, the files that are left out of the table: pseudonym and reason.
        mask_text: whether print and static overlays are masked in `image`.
        passed_over: after `samples`, the number of files, rows and the like that no sample comes from, by kind.
    """

    task: Task
    classes: tuple[str, ...]
    series: bool = False
    unit: Unit | None = None
    public_names: tuple[str, ...] = ()
    mask_text: bool = False
    left_out: Sequence[tuple[str, str]] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def samples(self) -> pd.DataFrame:
        """The sample table: one row per sample.

        Columns: `sample_id` (str, unique), `group_id` (str; the patient), `split` ("train", "val", "test", or
        missing where the data set does not fix it), and the target: `target` (int class index); for `multilabel`
        `target/<class>` (0 or 1) for each class; for `regression` `target/<name>` (float) for each continuous target;
        for `unlabelled` none. Further columns are subgroups to report on, except those whose names start with `_`: only
        the source itself reads these, in `load`, and they are never written to a file. Series whose frames have times
        hold them in `_times`: a list of seconds since the first frame, rising. Files whose headers state how they were
        acquired have it in `_acquisition` (see `Acquisition`).

        Raises:
            InputError: if the table cannot be built; it names the files and the cure.
        """

    @abstractmethod
    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """Decode the sample of one row of the table; called from several threads, roughly in the table's order.

        Returns:
            An array of shape (C, H, W), or (T, C, H, W) for series, in its native integer type (uint8 or uint16) or
            float32.

        Raises:
            InputError: if the sample cannot be decoded; it names the sample by its `sample_id`, and the cure.
        """

    def image(self, row: Mapping[str, Any]) -> np.ndarray:
        """What `load` returns, with print and static overlays masked where `mask_text` is set."""
        loaded = self.load(row)
        return mask_print(loaded) if self.mask_text else loaded

    def sized_image(self, row: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
        """What `image` returns, or the same as `resize` makes it, where a source saves copies of the pixels by that.

        Args:
            row: of the table.
            size: height and width.
        """
        return self.image(row)

    @property
    def masking(self) -> list[object]:
        """What `fingerprint` adds to its settings: nothing where nothing is masked."""
        return ["mask_text", MASK_VERSION] if self.mask_text else []

    @abstractmethod
    def fingerprint(self) -> str:
        """A hex digest of all that `image` depends on: file contents, settings, `masking`, the decoder's version."""

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files that a sample is read from; empty for synthetic images and for archives."""
        return []
