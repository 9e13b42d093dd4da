"""What an audit checks: a split sample table, its decoded images, and the source that they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.data.audit.equal_images import equal_samples
from vesalius.data.audit.findings import MOST_LISTED
from vesalius.data.audit.similar_images import Pair, nearly_equal_pairs
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store


@dataclass(frozen=True)
class AuditInput:
    """A data set as an audit sees it.

    Attributes:
        table: the samples with their splits; row i is sample i of the store.
        store: their decoded images.
        source: where they come from.
        train_classes: the classes that training samples were chosen from; None for all.
        all_pairs: compare all images of two splits, also of large sets, where a search may miss a near duplicate.
    """

    table: pd.DataFrame
    store: Store
    source: Source
    train_classes: Sequence[str] | None = None
    all_pairs: bool = False

    @cached_property
    def ids(self) -> list[str]:
        """`sample_id` of each row."""
        return [str(name) for name in self.table["sample_id"]]

    @cached_property
    def split(self) -> NDArray[np.object_]:
        """The split of each sample; neither train, val nor test for one that is in no split."""
        return np.asarray(self.table["split"].astype(object).where(self.table["split"].notna(), ""))

    @cached_property
    def equal(self) -> list[list[int]]:
        """Rows of equal samples, of any patients and splits."""
        return equal_samples(self.store)

    @cached_property
    def near(self) -> list[Pair]:
        """Nearly equal samples of different patients in different splits; equal ones are not among them."""
        equal_of = {row: number for number, rows in enumerate(self.equal) for row in rows}
        pairs = nearly_equal_pairs(self.store, self.table, all_pairs=self.all_pairs)
        return [pair for pair in pairs if pair[0] not in equal_of or equal_of[pair[0]] != equal_of.get(pair[1])]

    def id_pairs(self, pairs: list[Pair]) -> list[tuple[str, str, float]]:
        """The first pairs of rows as pairs of ids, with their similarity."""
        return [(self.ids[a], self.ids[b], round(alike, 4)) for a, b, alike in pairs[:MOST_LISTED]]
