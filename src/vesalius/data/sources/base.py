"""The contract between wherever images come from and everything that uses them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.facts import Task


class Source(ABC):
    """Says which samples exist and decodes one of them.

    A source knows nothing of splits that it was not given, of the image size that a model wants, or of the
    model itself; so any source works with any model that it makes sense for.

    Attributes:
        task: what the targets mean.
        classes: names of the classes; a target is an index into them (`multilabel` has a 0/1 column for each). For
            `regression` they name the quantities, and for `unlabelled` there are none.
        series: whether `load` gives image series; their lengths may differ.
        left_out: files that were left out before there were samples, once `samples` was called: pseudonym and reason.
    """

    task: Task
    classes: tuple[str, ...]
    series: bool = False
    left_out: Sequence[tuple[str, str]] = ()

    @abstractmethod
    def samples(self) -> pd.DataFrame:
        """The sample table: one row a sample.

        Columns: `sample_id` (str, unique), `group_id` (str; the patient), `split` ("train", "val", "test", or
        missing where the data set does not fix it), and `target` (int class index), or for a `multilabel` task
        `target/<class>` (0 or 1) for each class, for `regression` `target/<quantity>` (float); none of these for an
        `unlabelled` task. Further columns are
        subgroups to report on, except those whose names start with `_`: they are the source's own notes for `load` and
        never leave it. Series whose frames have times note them in `_times`: a list of seconds since the first frame,
        rising.

        Raises:
            InputError: if the table cannot be made; it names the files and the cure.
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

    @abstractmethod
    def fingerprint(self) -> str:
        """A hex digest of all that `load` depends on: file contents, settings, the decoder's version."""

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files that a sample is read from; none for made images and for archives."""
        return []
