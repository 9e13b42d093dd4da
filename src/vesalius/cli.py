"""The `vesalius` command: finds the verb, freezes its config, starts the work in a fresh interpreter.

Imports nothing heavy: help, completion and mistakes in the config come before torch does.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius import __version__
from vesalius.config.errors import InputError, RunFailed, VesaliusError, print_problems

if TYPE_CHECKING:
    from vesalius.launch.ahead import Ahead

VERBS = {
    "train": "train one network, evaluate it, record everything; with -m a sweep",
    "evaluate": "the test metrics of a finished run again, from its folder or on other data",
    "ensemble": "several finished runs, of other seeds or folds, as one model",
    "predict": "what a finished run predicts for new files, as a table",
    "export": "a finished run as a folder that predicts without torch, with a model card",
    "serve": "a model as a web page and an HTTP interface",
    "embed": "features of every sample from a run's encoder, as a table",
    "synthesize": "a folder of synthetic images from a trained generator, usable as training data",
    "gain": "what synthetic images are worth to a classifier: trained with and without them",
    "compare": "compare runs that differ in one key, or with their baselines, on the same patients",
    "report": "one page and table of a run, or of a whole sweep, finished or not",
    "verify": "whether a finished model's files are as they were, and its numbers right",
    "rerun": "a finished run's frozen config again, and how far its numbers agree",
    "identities": "who pseudonyms are; export, forget or encrypt it",
    "audit": "leakage, duplicates and other flaws of a data set; trains nothing",
}

HELP = f"""vesalius {__version__}: honest deep-learning experiments on medical images

Usage: vesalius VERB [key=value ...] [group=option ...]

{chr(10).join(f"  {verb:<10} {text}" for verb, text in VERBS.items())}

  vesalius VERB --help         # the groups, options and keys of a verb
  vesalius VERB --cfg job      # the config that would be used
  eval "$(vesalius --completion)"   # completion in bash
  vesalius --version

Exit codes: 0 done; 2 bad config or input; 1 failed, or a check found something; 130 Ctrl-C; 143 SIGTERM.
"""

COMPLETION = """_vesalius() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=( $(compgen -W "%s" -- "$word") )
    else
        local rest="${COMP_LINE#*"${COMP_WORDS[1]}"}"
        COMPREPLY=( $(COMP_LINE="vesalius$rest" COMP_POINT="${#COMP_LINE}" \\
            "${COMP_WORDS[0]}" "${COMP_WORDS[1]}" -sc query=bash 2>/dev/null) )
    fi
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _vesalius vesalius
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code (see `HELP`).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return 0
    if verb == "--version":
        sys.stdout.write(f"{__version__}\n")
        return 0
    if verb == "--completion":
        sys.stdout.write(COMPLETION % " ".join(VERBS))
        return 0
    try:
        return _run_verb(verb, arguments[1:])
    except VesaliusError as error:
        print_problems(error)
        return error.exit_code
    except OSError as error:
        from vesalius.launch.faults import describe_fault

        if (fault := describe_fault(error)) is None:
            raise
        print_problems(RunFailed(fault))
        return 1


def _run_verb(verb: str, arguments: list[str]) -> int:
    if verb not in VERBS:
        from vesalius.config.diagnose import did_you_mean

        raise InputError(f"vesalius {verb}: there is no such verb.{did_you_mean(verb, VERBS)}")
    from vesalius.launch.ahead import started_ahead

    with started_ahead(verb, arguments) as ahead:
        return _compose_and_launch(verb, arguments, ahead)


def _compose_and_launch(verb: str, arguments: list[str], ahead: "Ahead | None") -> int:
    from vesalius.config.command_line import is_multirun
    from vesalius.config.compose import run_hydra, sweep_dir
    from vesalius.launch.launch import begin_run, launch
    from vesalius.launch.rendezvous import ranks_of
    from vesalius.runs.sweep_folder import SWEEP, withdraw
    from vesalius.sweeps.other_launchers import describe_limits, other_launcher
    from vesalius.sweeps.resume import resumed_arguments
    from vesalius.sweeps.scheduler import end_of_sweep

    if is_multirun(arguments) and ranks_of(os.environ) is not None:
        raise InputError(
            "-m under srun or torchrun: start the sweep without them; each of its jobs starts its own processes."
        )
    codes: list[int] = []

    other = other_launcher(arguments)
    if other is not None:
        sys.stderr.write(f"{describe_limits(other)}\n")

    def work(config: dict[str, Any], overrides: list[str], folder: Path) -> float:
        code, objective = launch(verb, config, overrides, folder, ahead)
        codes.append(code)
        if code and is_multirun(arguments):  # by another launcher: that of Vesalius starts its jobs itself
            log = f", and {folder / 'logs' / 'rank0.log'}" if folder.is_dir() else ""  # a refused config has no folder
            raise RunFailed(f"{folder} ended with exit code {code}: see what it printed{log}.")
        return objective

    try:
        sweep = run_hydra(verb, resumed_arguments(verb, arguments), work, partial(begin_run, verb))
    except InputError:
        if (refused := sweep_dir()) is not None:
            withdraw(refused)
        raise
    if sweep is not None and (sweep / SWEEP).is_file():
        return end_of_sweep(sweep)
    return codes[0] if codes else 0


if __name__ == "__main__":
    sys.exit(main())
