"""The progress bar of work that takes long."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

from vesalius.terminal.console import command_console

Item = TypeVar("Item")
QUIET_SECONDS = 2.0


def show_progress(
    items: Iterable[Item],
    total: int | None,
    label: str,
    *,
    size: Callable[[Item], int] = lambda item: 1,
    unit: Literal["items", "bytes"] = "items",
    wanted: bool = True,
) -> Iterator[Item]:
    """Pass items on; on a terminal a bar on stderr appears once this has taken two seconds, in the main thread.

    Args:
        items: any, passed on as they come.
        total: the sum of all sizes; None where it is unknown.
        label: the work, in a word or two.
        size: what an item adds to the work done.
        unit: what sizes count.
        wanted: False shows nothing.
    """
    if not wanted or not sys.stderr.isatty() or threading.current_thread() is not threading.main_thread():
        yield from items
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn] = [MofNCompleteColumn(), TimeRemainingColumn()]
    if unit == "bytes":
        counts = [DownloadColumn(), TransferSpeedColumn()]
    bar = Progress(TextColumn("{task.description}"), BarColumn(), *counts, console=command_console(stderr=True))
    task = bar.add_task(label, total=total)
    start, done, shown = time.monotonic(), 0, False
    try:
        for item in items:
            done += size(item)
            if not shown and time.monotonic() - start > QUIET_SECONDS:
                bar.start()
                shown = True
            if shown:
                bar.update(task, completed=done)
            yield item
    finally:
        if shown:
            bar.stop()
