"""The datamodule of an audit: it accepts what other datamodules refuse, so that the audit can report it."""

from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import StoredDataset
from vesalius.data.samples import check_samples
from vesalius.data.sources.base import Source


class AuditData(ImageDataModule):
    """The samples of any source, split and decoded as in a run, to be audited.

    See `ImageDataModule` for the options. Unreadable images are always left out, whatever `on_bad_file` is: the audit
    counts them. The images are mapped, not held in memory: each is read from the first to the last, a few times.

    Args:
        source: of the samples.
        all_pairs: see `AuditInput`.
        options: of `ImageDataModule`.
    """

    def __init__(self, source: Source, *, all_pairs: bool = False, **options: Any) -> None:
        self.all_pairs = all_pairs
        super().__init__(source, **{**options, "on_bad_file": "skip", "memory_limit_gb": 0.0})

    def check_source(self, source: Source) -> None:
        """Accept images and series, classes and continuous targets."""

    def make_dataset(self) -> StoredDataset:
        """Refuse to give batches: an audit trains nothing.

        Raises:
            InputError: always.
        """
        raise InputError("data: an audit has no batches; train with a datamodule of a model family.")

    def setup(self, stage: str | None = None) -> None:
        """List, split and decode; here, patients in two splits and splits without a class are findings, not errors."""
        table = self.split_table()
        self.on_split(table)
        self.open_store(table)

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse samples that cannot be split; patients that the source puts into two splits are a finding."""
        check_samples(
            table.drop(columns="split", errors="ignore"), self.source.task, self.source.classes, before_split=True
        )

    @property
    def audit_input(self) -> AuditInput:
        """What the checks read, once `setup` was called."""
        return AuditInput(self.table, self.store, self.source, all_pairs=self.all_pairs)
