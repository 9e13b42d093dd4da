"""`vesalius VERB -m resume=DIR`: the arguments with which a sweep is resumed. Torch-free."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from vesalius.config.command_line import MULTIRUN, is_multirun, split_arguments
from vesalius.config.errors import InputError
from vesalius.launch.resume_despite import KEY, set_despite
from vesalius.runs.run_folder import CONFIG
from vesalius.runs.sweep_folder import SWEEP, SweepFolder
from vesalius.sweeps.other_launchers import other_launcher

#: How jobs are run and how long a search lasts may change on resume; the jobs may not.
_FREE = ("hydra.launcher.", "hydra.sweeper.n_trials=", "hydra.sweeper.timeout=")


def flags_of(arguments: Sequence[str]) -> list[str]:
    """The flags of a command line and their values, such as `--config-dir`, without `-m`."""
    overrides = set(split_arguments(arguments))
    flags = [argument for argument in arguments if argument not in overrides and argument not in MULTIRUN]
    return [_from_anywhere(flag) for flag in flags]


def _from_anywhere(flag: str) -> str:
    """A flag or its value, or both as `--flag=value`, where the value is a folder's absolute path."""
    name, equals, value = flag.partition("=") if flag.startswith("-") else ("", "", flag)
    return name + equals + str(Path(value).resolve()) if value and Path(value).is_dir() else flag


def resumed_arguments(verb: str, arguments: Sequence[str]) -> list[str]:
    """Turn `resume=DIR` of a sweep into arguments for Hydra, and change to the directory where the sweep was begun.

    The paths among its arguments are relative to that directory. Without such a directory here, this process stays.

    Args:
        verb: of the command line.
        arguments: as typed; those of a sweep without `resume` or by another launcher, and those of a single run, come
            back as they are.

    Raises:
        InputError: where there is no such sweep, or it was asked for other things.
    """
    overrides = split_arguments(arguments)
    asked = [text.partition("=")[2].strip("'\"") for text in overrides if text.startswith("resume=")]
    if not is_multirun(arguments) or not asked or asked[-1] == "null" or other_launcher(arguments):
        return list(arguments)
    for text in overrides:
        if text.startswith(f"{KEY}="):
            set_despite(yaml.safe_load(text.partition("=")[2]) or ())
    rest = [text for text in overrides if not text.startswith(("resume=", "hydra.sweep.dir=", f"{KEY}="))]
    path = Path(asked[-1])
    if asked[-1] == "auto":
        folders = [text.partition("=")[2].strip("'\"") for text in overrides if text.startswith("hydra.sweep.dir=")]
        if not folders:
            raise InputError("-m resume=auto: name the sweep to begin or resume with hydra.sweep.dir=DIR.")
        path = Path(folders[-1])
        if not (path / SWEEP).is_file():
            return [text for text in arguments if not text.startswith(("resume=", f"{KEY}="))]
    elif (path / CONFIG).is_file():
        raise InputError(f"resume={path} is the folder of one run and not of a sweep: leave out -m.")
    folder = SweepFolder(path)
    sweep = folder.content
    if not folder.is_own:
        raise InputError(
            f"{path} was not begun by a command of yours on this machine, and to resume it would run what its author "
            "typed: begin a sweep of your own."
        )
    if sweep["verb"] != verb:
        raise InputError(f"{path} is a sweep of vesalius {sweep['verb']}: resume it with that verb.")
    _check_equal(path, [text for text in rest if not text.startswith(_FREE)], _fixed(sweep["arguments"]))
    changed = [text for text in rest if text.startswith(_FREE)]
    keys = {text.partition("=")[0] for text in changed}
    unchanged = [text for text in sweep["arguments"] if text.partition("=")[0] not in keys]
    flags = flags_of(arguments) or sweep.get("flags", [])
    begun = Path(sweep.get("directory", "."))
    if begun.is_dir() and begun.resolve() != Path.cwd():
        path = path.resolve()
        os.chdir(begun)
    place = f"hydra.sweep.dir='{str(path).replace(chr(39), chr(92) + chr(39))}'"
    return ["-m", *flags, *unchanged, *changed, place, "hydra.launcher.resume=true"]


def _fixed(arguments: Sequence[str]) -> list[str]:
    return [text for text in arguments if not text.startswith(_FREE)]


def _check_equal(path: Path, given: list[str], before: list[str]) -> None:
    if not given or sorted(given) == sorted(before):
        return
    problems = [f"{text}: the sweep in {path} was not begun with it: leave it out." for text in given]
    problems = [problem for problem, text in zip(problems, given, strict=True) if text not in before]
    missing = [text for text in before if text not in given]
    if missing:
        problems.append(
            f"resume={path} resumes the sweep with its own arguments: leave out all of yours, or also give "
            f"{' '.join(missing)}."
        )
    raise InputError(problems)
