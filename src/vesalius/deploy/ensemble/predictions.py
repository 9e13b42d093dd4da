"""The predictions of an ensemble, from those of its members."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.deploy.ensemble.members import Member, output_columns
from vesalius.metrics.comparison.arms import same_samples, samples_of


@dataclass(frozen=True)
class Pooled:
    """Predictions of a split by members that did not learn from it.

    Attributes:
        table: one row per sample: the mean over the members that have this sample in this split, and in `fold` a number
            for each such set of members.
        whole: whether these are all members for every sample, so that the table is the ensemble's own.
        members: each member's own table.
    """

    table: pd.DataFrame
    whole: bool
    members: list[pd.DataFrame]

    @property
    def own(self) -> pd.DataFrame:
        """The table as a run writes it."""
        return self.table.drop(columns="fold")


def pool(members: Sequence[Member], split: str) -> Pooled:
    """Put the members' predictions of a split together.

    No member's prediction of a sample that is in another split of this member is used: it may have learned from it.

    Args:
        members: of one ensemble.
        split: `val` or `test`.

    Raises:
        InputError: where members disagree on a sample's patient or target.
    """
    tables = [member.table(split) for member in members]
    columns = output_columns(members[0].facts)
    whole = same_samples(tables)
    if not whole:
        _check_same_truth(tables, [member.run.name for member in members])
    stacked = pd.concat([table.assign(_member=at) for at, table in enumerate(tables)], ignore_index=True)
    by_sample = stacked.groupby("sample_id", sort=True)
    first = by_sample.first()
    first[columns] = by_sample[columns].mean()
    first["fold"] = pd.factorize(by_sample["_member"].agg(lambda held: " ".join(map(str, held))))[0]
    order = [name for name in tables[0].columns if name in first.columns or name == "sample_id"]
    return Pooled(first.reset_index()[[*order, "fold"]], whole, tables)


def _check_same_truth(tables: Sequence[pd.DataFrame], names: Sequence[str]) -> None:
    known = samples_of(tables[0]).set_index("sample_id")
    for table, name in zip(tables[1:], names[1:], strict=True):
        other = samples_of(table).set_index("sample_id")
        shared = known.index.intersection(other.index)
        if list(known.columns) != list(other.columns) or not known.loc[shared].equals(other.loc[shared]):
            raise InputError(f"runs: {name} has other patients or targets for some samples than the runs before it.")
        known = pd.concat([known, other.loc[other.index.difference(shared)]])
