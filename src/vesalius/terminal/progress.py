"""A bar for work that takes long."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_QUIET_SECONDS = 2.0


def with_bar(items: Iterable[Item], total: int, what: str, wanted: bool = True) -> Iterator[Item]:
    """Pass items on, and show a bar on a terminal once it has taken two seconds.

    Args:
        items: as they come.
        total: how many there will be.
        what: is done, in a word or two.
        wanted: whether to show anything at all.
    """
    if not wanted or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    task, start, shown = bar.add_task(what, total=total), time.monotonic(), False
    try:
        for done, item in enumerate(items, 1):
            if not shown and time.monotonic() - start > _QUIET_SECONDS:
                bar.start()
                shown = True
            if shown:
                bar.update(task, completed=done)
            yield item
    finally:
        if shown:
            bar.stop()
