"""Sweeps by Hydra's other launchers, such as joblib's or submitit's. Torch-free.

Each of their jobs composes its config itself, and then does what a single run does: a frozen config, a folder, and a
fresh process that works from it. What such a sweep lacks is whatever the launcher of Vesalius does for all jobs.
"""

from collections.abc import Sequence

from vesalius.config.command_line import is_multirun, split_arguments

_KEY, OWN = "hydra/launcher=", "vesalius"


def other_launcher(arguments: Sequence[str]) -> str | None:
    """The launcher that a command line of a sweep names, where it is not the one of Vesalius."""
    named = [text.removeprefix(_KEY) for text in split_arguments(arguments) if text.startswith(_KEY)]
    return named[-1] if named and named[-1] != OWN and is_multirun(arguments) else None


def describe_limits(launcher: str) -> str:
    """What a sweep by another launcher does without, and how it is resumed."""
    return (
        f"hydra/launcher={launcher} starts the jobs, each with a config, a folder and a fresh process of its own. "
        "It has no table of the jobs, gives none a GPU of its own, and keeps no list of them: to go on after a stop, "
        "give the same command again, with its hydra.sweep.dir and resume=auto. hydra/launcher=vesalius does all that."
    )
