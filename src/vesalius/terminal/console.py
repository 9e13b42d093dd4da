"""The console and the tables that commands print."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def command_console(stderr: bool = False) -> Console:
    """A console as wide as the terminal, or of 110 columns where the output goes to a file or a pipe."""
    from rich.console import Console

    class LastingConsole(Console):
        def on_broken_pipe(self) -> None:
            """Go on in silence where the reader, such as `head`, has left: a training is worth more than its lines."""
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if self.stderr else sys.stdout).fileno())

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return LastingConsole(stderr=stderr, width=None if terminal else 110)


def command_table(*titles: str) -> Table:
    """An empty table with these columns, whose cells wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for title in titles:
        table.add_column(Text(title), overflow="fold")
    return table
