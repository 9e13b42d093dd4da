"""An Optuna study whose trials are the jobs of a sweep: trial 7 is job 7 in folder 7."""

import csv
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.runs.prune_request import request_pruning
from vesalius.runs.run_folder import CONFIG, HISTORY, METRICS, RunFolder
from vesalius.runs.sweep_folder import SweepJob
from vesalius.sweeps.search.samplers import Samplers
from vesalius.sweeps.search.space import SearchSpace

_FOLDER = "folder"
_SWEEP, _CLAIM = "sweep", "claim"
_STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


@dataclass(frozen=True)
class Objective:
    """A validation metric that a search optimises.

    Attributes:
        name: the run's monitored metric, or one of the `val` metrics of its `metrics.json`, with or without `val/`.
        mode: `min` or `max`.
    """

    name: str
    mode: str

    @property
    def column(self) -> str:
        """Its name in `history.csv`."""
        return self.name if self.name.startswith("val/") else f"val/{self.name}"

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Its value in a `metrics.json`; None if missing or not finite."""
        monitor = metrics.get("monitor", {})
        if monitor.get("name") in (self.name, self.column):
            found = monitor.get("best")
        else:
            found = (metrics.get("val", {}).get(self.column.removeprefix("val/")) or {}).get("value")
        return float(found) if found is not None and math.isfinite(found) else None


class SweepStudy:
    """The study of a sweep: draws its jobs and records how they ended.

    All of its state lies in the study's storage and in the run folders, so that a sweep that was killed at any moment
    resumes from there. Several sweeps, each with a folder of its own, may share the study in a database: each runs the
    trials that it has drawn, and the folders of their jobs have the numbers of the trials.

    Args:
        path: the sweep's folder.
        space: the search space.
        samplers: draw the trials.
        pruner: stops unpromising jobs; not possible with several objectives.
        objectives: at least one.
        storage: of the study.
        name: of the study.
        shared: whether the storage is the user's own database, which may hold other studies.
        join: whether the study may be one that another sweep has begun.
        n_trials: number of trials in all, with those of earlier attempts; failed and pruned ones count.
        timeout: seconds of this attempt after which no further trial begins.

    Raises:
        InputError: where the storage holds another sweep's study of this name.
    """

    def __init__(
        self,
        path: Path,
        *,
        space: SearchSpace,
        samplers: Samplers,
        pruner: BasePruner,
        objectives: Sequence[Objective],
        storage: BaseStorage,
        name: str,
        shared: bool = False,
        join: bool = False,
        n_trials: int,
        timeout: float | None = None,
    ) -> None:
        if len(objectives) > 1 and not isinstance(pruner, NopPruner):
            raise InputError("hydra.sweeper.pruner: of several objectives none can be pruned: set it to none.")
        self.path, self.space, self.objectives = path, space, list(objectives)
        self._samplers, self._n_trials = samplers, n_trials
        self._own = str(path.resolve())
        self._end = math.inf if timeout is None else time.monotonic() + timeout
        #: Optuna's study; other modules only read it.
        self.study = _open(path, storage, name, pruner, self.objectives, shared=shared, join=join)
        self._running: dict[int, Trial] = {}
        self._read: dict[int, int] = {}
        self._pruned: set[int] = set()

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return self.study.get_trials(deepcopy=False)

    def jobs(self) -> Iterator[tuple[int, list[str]]]:
        """The trials that a killed sweep left open, also those whose run has ended since, then new ones on request."""
        for left in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self.has_drawn(left):
                continue
            self.study.sampler = self._samplers(left.number)
            yield left.number, self._draw(Trial(self.study, left._trial_id))
        while len(self.trials) < self._n_trials and time.monotonic() < self._end:
            number = len(self.trials)
            if self._has_run(number):
                raise InputError(
                    f"{self.path / str(number)} holds a run that the study does not know: was its storage lost? "
                    f"Start a new sweep in another folder."
                )
            trial = self._claim_trial()
            if trial.number < self._n_trials:
                self.study.sampler = self._samplers(trial.number)
                yield trial.number, self._draw(Trial(self.study, trial._trial_id))
            else:  # another sweep has drawn the last one meanwhile
                self.study.tell(Trial(self.study, trial._trial_id), state=TrialState.FAIL)

    def has_drawn(self, trial: FrozenTrial) -> bool:
        """Whether a trial is a job of this sweep, and not of another one that shares the study."""
        return bool(trial.user_attrs.get(_SWEEP, self._own) == self._own)

    def _claim_trial(self) -> FrozenTrial:
        """A new trial that names its sweep from the start: a kill at no moment leaves it without an owner."""
        claim = secrets.token_hex(8)
        marks = {_SWEEP: self._own, _CLAIM: claim}
        self.study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=marks))
        return next(trial for trial in reversed(self.trials) if trial.user_attrs.get(_CLAIM) == claim)

    def tick(self, running: Mapping[int, Path]) -> None:
        """Report new epochs of the running jobs to the study, and stop jobs that the pruner rejects.

        Args:
            running: run folders by job number.
        """
        for number, path in running.items():
            trial = self._running[number]
            epoch = self._report(trial, path)
            if epoch is None or number in self._pruned or epoch + 1 >= _max_epochs(path):
                continue
            values = self.trials[number].intermediate_values
            # A job without any finite value yet is not worse than others; without one at its end it fails.
            if all(map(math.isnan, values.values())) or not trial.should_prune():
                continue
            self._pruned.add(number)
            pruner = type(self.study.pruner).__name__.removesuffix("Pruner").lower()
            value = values[epoch]
            reason = f"{pruner} pruner: {self.objectives[0].column} {value:.4g} after {epoch + 1} epochs"
            request_pruning(path, reason)

    def done(self, job: SweepJob) -> None:
        """Record the end of a job; an interrupted one stays open and continues in the next attempt."""
        trial = self._running.pop(job.number)
        if job.state in ("interrupted", "waiting", "running"):
            return
        self._report(trial, job.path)
        values = self._values(job)
        state, reason = _STATES.get(job.state, TrialState.FAIL), job.reason
        if state is TrialState.COMPLETE and values is None:
            state, reason = TrialState.FAIL, self._missing(job)
        if reason is not None:
            trial.set_user_attr("reason", reason)
        self.study.tell(trial, values if state is TrialState.COMPLETE else None, state)

    def _report(self, trial: Trial, path: Path) -> int | None:
        """Report the epochs that are new to the study.

        Returns:
            The last of them; None without a new one, and always with several objectives.
        """
        file = path / HISTORY
        changed = file.stat().st_mtime_ns if file.is_file() else 0
        if len(self.objectives) > 1 or self._read.get(trial.number, 0) == changed:
            return None
        self._read[trial.number] = changed
        known = self.trials[trial.number].intermediate_values
        new = {int(row["epoch"]): row.get(self.objectives[0].column) for row in history_rows(path)}
        new = {epoch: value for epoch, value in new.items() if value and epoch not in known}
        for epoch, value in new.items():
            trial.report(float(value or "nan"), epoch)
        return max(new, default=None)

    def _draw(self, trial: Trial) -> list[str]:
        """The overrides of a trial. Values that a killed sweep drew stay; the others are what it would have drawn."""
        params: dict[str, Any] = {}
        _ = trial.relative_params  # drawn now, before any value is
        for place, (key, of) in enumerate(self.space.distributions.items(), start=1):
            self.study.sampler = self._samplers(trial.number, place)
            if isinstance(of, CategoricalDistribution):
                params[key] = trial.suggest_categorical(key, of.choices)
            elif isinstance(of, IntDistribution):
                params[key] = trial.suggest_int(key, of.low, of.high, step=of.step, log=of.log)
            elif isinstance(of, FloatDistribution):
                params[key] = trial.suggest_float(key, of.low, of.high, step=of.step, log=of.log)
        trial.set_user_attr(_FOLDER, f"{self.path.name}/{trial.number}")
        self._running[trial.number] = trial
        return self.space.overrides(params)

    def _values(self, job: SweepJob) -> list[float] | None:
        """One value per objective, or None if one is missing."""
        metrics = _metrics(job)
        values = [objective.value(metrics) for objective in self.objectives]
        return None if None in values else [value for value in values if value is not None]

    def _missing(self, job: SweepJob) -> str:
        """A message that names the objectives without a finite value, with suggestions."""
        metrics = _metrics(job)
        known = [str(metrics.get("monitor", {}).get("name")), *(f"val/{name}" for name in metrics.get("val", {}))]
        columns = [objective.column for objective in self.objectives if objective.value(metrics) is None]
        hints = [did_you_mean(column, known) for column in columns if column not in known]
        return f"no finite value of {', '.join(columns)}.{''.join(hints)}"

    def _has_run(self, number: int) -> bool:
        return (self.path / str(number) / CONFIG).is_file()


def _metrics(job: SweepJob) -> dict[str, Any]:
    return RunFolder(job.path).metrics if job.state == "done" and (job.path / METRICS).is_file() else {}


def _open(
    path: Path,
    storage: BaseStorage,
    name: str,
    pruner: BasePruner,
    objectives: Sequence[Objective],
    *,
    shared: bool,
    join: bool,
) -> optuna.Study:
    directions = [
        StudyDirection.MAXIMIZE if objective.mode == "max" else StudyDirection.MINIMIZE for objective in objectives
    ]
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, pruner=pruner, directions=directions, load_if_exists=True
        )
    except ValueError as error:
        raise InputError(f"hydra.sweeper.study_name={name}: {error}") from error
    place = study.user_attrs.get(_FOLDER)
    if shared and not join and place != str(path.resolve()):
        if place is not None or study.trials:
            raise InputError(
                f"hydra.sweeper.study_name={name}: the storage holds a study of this name, of another sweep: choose "
                "another name, resume that sweep with resume=ITS_FOLDER, or take part in it with "
                "hydra.sweeper.join=true."
            )
        study.set_user_attr(_FOLDER, str(path.resolve()))
    if study.directions != directions:
        raise InputError(f"hydra.sweeper.objectives: the study {name} was begun with other directions.")
    return study


def history_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a run folder's `history.csv` so far."""
    file = path / HISTORY
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def _max_epochs(path: Path) -> float:
    """Epochs of the whole run: a run beyond them is being evaluated and is not worth stopping."""
    epochs = RunFolder(path).config.get("trainer", {}).get("max_epochs")
    return epochs if epochs is not None and epochs > 0 else math.inf
