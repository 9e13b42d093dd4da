"""Errors that end a command with one message and without a traceback, and their exit codes."""

import sys
from collections.abc import Iterable


class VesaliusError(Exception):
    """An error that is reported in one message, without a traceback.

    Attributes:
        problems: one sentence each, naming the thing and the cure.
        exit_code: of the command.
    """

    exit_code = 1

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class InputError(VesaliusError):
    """Bad config or bad input: nothing was trained and nothing was lost."""

    exit_code = 2


class RunFailed(VesaliusError):
    """The work itself failed, such as a loss that became NaN."""

    exit_code = 1


def print_problems(error: VesaliusError) -> None:
    """Print each problem of an error on a line of its own."""
    for problem in error.problems:
        sys.stderr.write(f"Error: {problem}\n")
    sys.stderr.flush()
