"""The datamodule of an audit: it refuses nothing that an audit should tell of."""

from typing import Any

import pandas as pd
from torch.utils.data import Dataset

from vesalius.config.errors import InputError
from vesalius.data.audit.checks import Audited
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import Batch
from vesalius.data.samples import check_samples
from vesalius.data.sources.base import Source


class AuditData(ImageDataModule):
    """Any source's samples, split and decoded as a run would, for looking at.

    See `ImageDataModule` for the options. Unreadable images are always left out, whatever `on_bad_file` says: the audit
    counts them.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(source, **{**options, "on_bad_file": "skip"})

    def check_source(self, source: Source) -> None:
        """Images and series, classes and quantities: all are welcome."""

    def make_dataset(self) -> Dataset[Batch]:
        """Nothing is trained.

        Raises:
            InputError: always.
        """
        raise InputError("data: an audit has no batches; train with a datamodule of a model family.")

    def setup(self, stage: str | None = None) -> None:
        """List, split and decode; patients in two splits, or splits without a class, are findings here."""
        self.open_store(self.split_table())

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse what cannot even be listed; the source's own straddling patients are a finding."""
        check_samples(
            table.drop(columns="split", errors="ignore"), self.source.task, self.source.classes, before_split=True
        )

    @property
    def audited(self) -> Audited:
        """What the checks look at, once `setup` was called."""
        return Audited(self.table, self.store, self.source)
