"""The console that commands print to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def command_console(stderr: bool = False) -> Console:
    """A console as wide as the terminal, or of 110 columns where the output goes to a file or a pipe."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else 110)
