"""A search with Optuna from its options to its figures: what `hydra/sweeper=vesalius_optuna` does."""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SWEEP, SweepFolder, SweepJob
from vesalius.sweeps.search.figures import save_study_figures
from vesalius.sweeps.search.journal import JOURNAL, open_journal, reopen_failed
from vesalius.sweeps.search.samplers import Choice, Samplers, check_storage, make_pruner, open_storage
from vesalius.sweeps.search.space import search_space
from vesalius.sweeps.search.study import Objective, SweepStudy
from vesalius.sweeps.search.summary import best_trials, importance_of, study_summary

Compose = Callable[[list[str]], Any]
TRIALS = 20


def run_study(
    path: Path,
    arguments: Sequence[str],
    *,
    settings: Sequence[str] = (),
    verb: str,
    slots: int,
    compose: Compose,
    stream: Callable[..., None],
    params: Mapping[str, str],
    n_trials: int | None,
    sampler: Choice,
    pruner: Choice | None,
    objectives: Sequence[Mapping[str, str]] | None,
    storage: str | None,
    study_name: str | None,
    join: bool,
    seed: int,
    timeout: float | None,
) -> list[float] | None:
    """Begin or resume a search, and print at its end which trial was best.

    Args:
        path: the sweep's folder.
        arguments: overrides as typed.
        settings: of Hydra, as typed; stored for a resume.
        verb: of each job.
        slots: number of jobs that run at once.
        compose: the config of a job from its overrides.
        stream: of the launcher.
        params, n_trials, sampler, pruner, objectives, storage, study_name, join, seed, timeout: options of the sweeper.

    Returns:
        The best value of each objective; None without a finished trial.

    Raises:
        InputError: with every problem, before any job starts.
    """
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = search_space([argument for argument in arguments if not argument.startswith("resume=")], params)
    example = compose(space.overrides(space.example))  # Hydra raises its errors before any job starts
    problems: list[str] = []
    check_storage(settings)
    samplers = _collect(problems, lambda: Samplers(sampler, space, seed, parallel=slots > 1))
    stopping = _collect(problems, lambda: make_pruner(pruner, example.trainer.get("max_epochs"))) or NopPruner()
    aims = _collect(problems, lambda: _objectives(objectives, example.monitor))
    if n_trials is not None and n_trials < 1:
        problems.append(f"hydra.sweeper.n_trials={n_trials}: must be at least 1.")
    if join and (storage is None or study_name is None):
        problems.append("hydra.sweeper.join=true needs the storage and the study_name of the search to take part in.")
    if problems or samplers is None or aims is None:
        raise InputError(problems)
    name = study_name or (path.resolve().name if storage else "study")
    if storage is None and (path / JOURNAL).is_file():
        reopen_failed(path, path / JOURNAL, name)
    study = SweepStudy(
        path,
        space=space,
        samplers=samplers,
        pruner=stopping,
        objectives=aims,
        storage=open_journal(path / JOURNAL) if storage is None else open_storage(storage),
        name=name,
        shared=storage is not None,
        join=join,
        n_trials=min(n_trials or samplers.size or TRIALS, samplers.size or sys.maxsize),
        timeout=timeout,
    )
    lost = [str(trial.number) for trial in study.trials if trial.state is TrialState.FAIL]
    if lost and storage is not None:
        sys.stderr.write(
            f"Trials {', '.join(lost)} failed and stay so: only the sweep's own journal can reopen them.\n"
        )
    if (path / SWEEP).is_file():
        folder = SweepFolder(path)
    else:
        axes = {key: [text] for key, text in space.texts.items()}
        folder = SweepFolder.create(
            path, verb=verb, arguments=[*settings, *arguments], axes=axes, sweeper=samplers.name
        )

    def done(job: SweepJob) -> None:
        study.done(job)
        folder.write_study(study_summary(study, {}))

    try:
        stream(study.jobs(), done, study.tick)
    finally:  # also of a sweep that the user stops
        importance = importance_of(study)
        folder.write_study(study_summary(study, importance))
        save_study_figures(study, path / JOURNAL.parent, importance)
    return _print_best(study)


def _collect(problems: list[str], make: Callable[[], Any]) -> Any:
    """The value of `make`, or None with its problems added to the list."""
    try:
        return make()
    except InputError as error:
        problems.extend(error.problems)
        return None


def _objectives(chosen: Sequence[Mapping[str, str]] | None, monitor: Any) -> list[Objective]:
    """The chosen objectives, or by default the monitor of a job's config."""
    if chosen is None:
        return [Objective(str(monitor.name), str(monitor.mode))]
    bad = "hydra.sweeper.objectives: give a list such as [{name: auroc, mode: max}, {name: ece, mode: min}]."
    if not isinstance(chosen, list) or not chosen:
        raise InputError(bad)
    for one in chosen:
        if not isinstance(one, Mapping) or set(one) != {"name", "mode"} or one["mode"] not in ("min", "max"):
            raise InputError(bad)
        if str(one["name"]).startswith("test"):
            raise InputError(
                f"hydra.sweeper.objectives: {one['name']}: test data must not choose: name a metric of val/."
            )
        if one["mode"] != (mode_of(str(one["name"])) or one["mode"]):
            raise InputError(f"hydra.sweeper.objectives: {one['name']} is best at its {mode_of(str(one['name']))}.")
    return [Objective(str(one["name"]), str(one["mode"])) for one in chosen]


def _print_best(study: SweepStudy) -> list[float] | None:
    """Print the best trial; with several objectives, each trial of the Pareto front."""
    best = best_trials(study)
    if not best:
        sys.stdout.write("No trial was finished, so there is no best one.\n")
        return None
    for trial in best:
        folder = study.path / str(trial.number)
        aims = zip(study.objectives, trial.values, strict=True)
        values = ", ".join(f"{aim.name} {value:.4g}" for aim, value in aims)
        drawn = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
        sys.stdout.write(f"Best trial {trial.number} of {len(study.trials)}: {values} with {drawn}\n")
        if not study.has_drawn(trial):
            sys.stdout.write("  of another sweep of this search\n")
            continue
        with_interval = [text for aim in study.objectives if (text := _format_objective(aim, folder))]
        sys.stdout.writelines(f"  on the validation data that chose it: {text}\n" for text in with_interval)
        sys.stdout.write(f"  {folder}\n")
    return list(best[0].values)


def _format_objective(aim: Objective, folder: Path) -> str | None:
    """An objective of the finished run with its interval over patients; None without an interval."""
    name = aim.column.removeprefix("val/")
    metric = RunFolder(folder).metrics.get("val", {}).get(name) or {}
    if metric.get("ci95") is None:
        return None
    low, high = metric["ci95"]
    return f"{name} {metric['value']:.3g} [{low:.3g}, {high:.3g}], no skill {metric['no_skill']:.3g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
