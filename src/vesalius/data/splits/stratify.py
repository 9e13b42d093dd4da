"""Classes spread evenly while whole groups are dealt out or put in line."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.data.samples import target_columns

_MOST_BINS = 10
_GROUPS_PER_BIN = 7  # so that a split of 15 % can hold a group of each bin


def seeded_order(groups: Iterable[int], names: pd.Index, seed: int) -> list[int]:
    """Numbers of groups in the order of a hash of (seed, name): a shuffle that does not depend on other groups."""

    def key(number: int) -> bytes:
        return hashlib.blake2b(f"{seed}:{names[number]}".encode(), digest_size=8).digest()

    return sorted(groups, key=key)


def group_counts(table: pd.DataFrame, task: Task, codes: np.ndarray, groups: int) -> np.ndarray:
    """How many samples each group has in each class, and in all.

    Continuous targets are cut into up to ten classes of equally many samples, by the first one where there are several.

    Args:
        table: the sample table, its targets checked; a sample without a target is of no class.
        task: what the targets mean.
        codes: (n,) number of each sample's group.
        groups: how many groups there are.

    Returns:
        (groups, K + 1), the last column the size of the group; K is 0 without labels.
    """
    member: np.ndarray
    if task == "unlabelled":
        member = np.zeros((len(table), 0), dtype=bool)
    elif task == "multilabel":
        columns = sorted(target_columns(table))
        member = table[columns].to_numpy(dtype=float) > 0.5
    else:
        target = table[target_columns(table)[0]].to_numpy(dtype=float)
        if task == "regression":
            target = _binned(target, bins=min(max(groups // _GROUPS_PER_BIN, 1), _MOST_BINS))
        member = target[:, None] == np.unique(target[~np.isnan(target)])
    counts = np.zeros((groups, member.shape[1] + 1))
    np.add.at(counts, codes, np.column_stack([member, np.ones(len(table))]))
    return counts


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    """Numbers of the quantile bins that values lie in; equal values share one, and a missing value has none."""
    known = ~np.isnan(values)
    if not known.any():
        return values
    inner = np.quantile(values[known], np.arange(1, bins) / bins)
    return np.where(known, np.searchsorted(inner, values, side="right"), np.nan)


def deal(
    counts: np.ndarray, fixed: np.ndarray, order: Sequence[int], targets: Sequence[tuple[str, float]]
) -> np.ndarray:
    """Give a split to each group of `order`.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011) of whole groups, the rarest class first;
    then, as far as groups allow, each split that lacks a class is given a group of it. Of splits with equal parts none
    gets a second group while another has none.

    Args:
        counts: (groups, K + 1) from `group_counts`.
        fixed: (groups,) the split of each group, or an empty string.
        order: numbers of the groups without one, in the order to serve them.
        targets: names and parts of the splits to fill.

    Returns:
        (groups,) the split of each group.
    """
    names = [name for name, _ in targets]
    whole = sum(part for _, part in targets)
    queue = np.array(order)
    # samples of each class, and in all, that each split still wants
    wanted = [(part / whole * counts[queue].sum(axis=0)).tolist() for _, part in targets]
    assigned = fixed.copy()
    for label in _rarest_first(counts[queue]):
        for number in (queue[counts[queue, label] > 0] if label >= 0 else queue).tolist():
            if assigned[number]:
                continue
            best = -max((want[label], want[-1], -split) for split, want in enumerate(wanted))[2]
            assigned[number] = names[best]
            wanted[best] = [want - got for want, got in zip(wanted[best], counts[number].tolist(), strict=True)]
    _complete(counts[:, :-1] > 0, counts[:, -1], assigned, order, names)
    return assigned


def line_up(counts: np.ndarray, order: Sequence[int]) -> tuple[list[int], int]:
    """Put groups in a line of which every beginning is a stratified sample of the whole.

    At each step the class with the smallest part of its groups in line gets its next group, so no class lags behind:
    Adams' method of apportionment, where each group is of one class. Then, among the first n of G groups, a class with
    g groups has fewer than `n g / G + 1` and at least `(n - K + 1) g / G`.

    Args:
        counts: (groups, K + 1) from `group_counts`.
        order: numbers of the groups to put in line; this decides wherever classes do not.

    Returns:
        The line, and how many groups from its front hold every class.
    """
    present = counts[list(order), :-1] > 0
    present = np.column_stack([present, ~present.any(axis=1)])  # groups of no class are a class of their own
    present = present[:, present.any(axis=0)]
    totals = present.sum(axis=0)
    members = [np.flatnonzero(column)[::-1].tolist() for column in present.T]  # stacks: the next one on top
    classes_of = [np.flatnonzero(row).tolist() for row in present]
    in_line = [0] * len(totals)
    waiting = np.ones(len(order), dtype=bool)
    open_classes = np.argsort(totals, kind="stable").tolist()  # of classes that lag alike, the rarest is served first
    line: list[int] = []
    complete = 0
    while open_classes:
        label = min(open_classes, key=lambda one: in_line[one] / totals[one])
        position = members[label].pop()
        if waiting[position]:
            waiting[position] = False
            complete = complete if min(in_line) else len(line) + 1
            line.append(order[position])
            for one in classes_of[position]:
                in_line[one] += 1
        if not members[label]:
            open_classes.remove(label)
    return line, complete


def _rarest_first(counts: np.ndarray) -> list[int]:
    """Classes in the order to deal out: those in the fewest groups first; -1, for groups of no class, comes last."""
    holders = (counts[:, :-1] > 0).sum(axis=0)
    return [*np.argsort(holders, kind="stable").tolist(), -1]


def _complete(
    present: np.ndarray, size: np.ndarray, assigned: np.ndarray, order: Sequence[int], names: Sequence[str]
) -> None:
    """Move groups, the smallest possible, into splits that lack a class; never so that another split then lacks one."""
    has = {name: present[assigned == name].sum(axis=0) for name in names}  # groups of each class
    for label in _rarest_first(np.column_stack([present[list(order)], np.ones(len(order))]))[:-1]:
        for name in names:
            if has[name][label]:
                continue
            spare = [
                number
                for number in order
                if present[number, label]
                and assigned[number] != name
                and (has[assigned[number]] - present[number])[present[number]].min() >= 1
            ]
            if spare:
                number = min(spare, key=lambda candidate: size[candidate])
                has[assigned[number]] = has[assigned[number]] - present[number]
                has[name] = has[name] + present[number]
                assigned[number] = name
