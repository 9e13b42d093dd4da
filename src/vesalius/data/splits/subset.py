"""A part of the training patients, for learning curves: smaller parts lie inside larger ones."""

import math

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.samples import UNUSED
from vesalius.data.splits.stratify import group_counts, line_up, seeded_order


def train_subset(table: pd.DataFrame, fraction: float, *, seed: int, task: Task) -> pd.DataFrame:
    """Mark all but a part of the training groups as `unused`; validation and test stay as they are.

    Smaller parts lie inside larger ones. They are stratified (see `stratify.line_up`) and hold every class of the
    training split, even where that takes more groups than asked for.

    Args:
        table: a table with its `split` filled.
        fraction: part of the training groups to keep, above 0 and up to 1; rounded up to whole groups.
        seed: another seed, other groups.
        task: what the targets mean.

    Returns:
        A copy of the table in the order given. `in_use` drops the unused rows; `write_split` keeps them, so that the
        file holds the same subset.

    Raises:
        InputError: if the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"`data.train_fraction={fraction}` must be above 0 and at most 1, which keeps all.")
    result = table.copy()
    train = (table["split"] == "train").to_numpy()
    if fraction == 1 or not train.any():
        return result
    codes, names = pd.factorize(table.loc[train, "group_id"].astype(str), sort=True)
    counts = group_counts(table[train], task, codes, len(names))
    line, complete = line_up(counts, seeded_order(range(len(names)), names, seed))
    asked = math.ceil(fraction * len(line) - 1e-9)  # 0.07 of 100 groups is 7, not 7.000000000000001
    chosen = np.isin(codes, line[: max(asked, complete)])
    dropped = train.copy()
    dropped[train] = ~chosen
    result["split"] = result["split"].mask(dropped, UNUSED)
    return result
