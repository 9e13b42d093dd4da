"""What commands print to: the console, and the progress bar of everything that takes long."""

from vesalius.terminal.console import command_console, command_table
from vesalius.terminal.progress import show_progress

__all__ = ["command_console", "command_table", "show_progress"]
