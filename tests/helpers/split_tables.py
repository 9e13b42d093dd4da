"""Sample tables for tests of splits: given, and drawn by hypothesis."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from vesalius.data.samples import SPLITS
from vesalius.data.splits.assign import assign_splits

FRACTIONS = (0.7, 0.15, 0.15)


def table_of(groups):
    """Build a table from (targets of a group's samples) for each group."""
    rows = [(f"g{g}_s{s}", f"g{g}", target) for g, targets in enumerate(groups) for s, target in enumerate(targets)]
    return pd.DataFrame(rows, columns=["sample_id", "group_id", "target"])


pure_groups = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 6)).map(lambda pair: [pair[0]] * pair[1]), min_size=1, max_size=60
)


mixed_groups = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=60)


def splits_of_groups(table):
    return table.groupby("group_id")["split"].nunique()


TASKS = ("binary", "multiclass", "ordinal", "multilabel", "regression")


@st.composite
def tables(draw):
    """Any task; up to 40 groups of up to 5 samples; some of the groups fixed to some of the splits."""
    task = draw(st.sampled_from(TASKS))
    groups = draw(st.lists(st.integers(1, 5), min_size=3, max_size=40))
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=len(groups), max_size=len(groups), unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = pd.DataFrame({"group_id": np.repeat(names, groups)})
    table.insert(0, "sample_id", [f"s{number}" for number in range(len(table))])
    if task == "multilabel":
        for name, rate in (("a", 0.5), ("b", 0.2), ("c", 0.05)):
            table[f"target/{name}"] = (generator.random(len(table)) < rate).astype(int)
    elif task == "regression":
        table["target/volume"] = generator.lognormal(size=len(table)).round(1)  # rounded: equal values occur
        table["target/age"] = generator.normal(size=len(table))
    else:
        table["target"] = generator.integers(0, 2 if task == "binary" else 4, len(table))
    choices = [*draw(st.sampled_from([(), ("test",), ("train", "test"), SPLITS])), None]
    table["split"] = np.repeat(generator.choice(np.array(choices, dtype=object), len(groups)), groups)
    return task, table


def folds_of(task, table, folds, seed):
    return [assign_splits(table, seed=seed, task=task, fold=fold, folds=folds) for fold in range(folds)]
