"""The parts of an Optuna study, from their names in the config: sampler, pruner, storage."""

import inspect
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage

from vesalius.config.allowed import check_allowed
from vesalius.config.build import build
from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.targets import locate, target_problems
from vesalius.runs.redaction import without_passwords
from vesalius.runs.sweep_folder import SWEEP
from vesalius.sweeps.search.space import SearchSpace, Value

_PAUSE = 0.5  # seconds
Choice = str | Mapping[str, Any]
SAMPLERS = ("tpe", "random", "grid")
_STORAGE = "hydra.sweeper.storage"
PRUNERS = ("none", "median", "successive_halving", "hyperband")


class Grid(BaseSampler):
    """The points of a grid in order: trial 7 is point 7, in whatever order and however often trials start.

    Optuna's own grid stops a study by itself, which only its own loop allows.
    """

    def __init__(self, points: Sequence[Mapping[str, Value]]) -> None:
        self._points = points

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Read off the point."""
        return self._points[trial.number][param_name]


class Samplers:
    """A sampler for each value of each trial, seeded by the sweep's seed and the numbers of both.

    A single sampler would restart its random numbers in a resumed sweep and draw the first trials again. With these, a
    trial depends only on the seed, its number and the finished trials before it.

    Args:
        chosen: `tpe`, `random`, `grid`, or a `_target_` with its arguments.
        space: the search space.
        seed: of the sweep.
        parallel: whether other trials may be running when one is drawn; TPE then avoids their neighbourhood.

    Raises:
        InputError: where there is no such sampler, or it cannot draw from this space.
    """

    def __init__(self, chosen: Choice, space: SearchSpace, seed: int, *, parallel: bool) -> None:
        if seed < 0:
            raise InputError(f"hydra.sweeper.seed={seed}: at least 0.")
        self._target = _checked(chosen, "sampler", SAMPLERS, BaseSampler)
        self.name = str(chosen if self._target is None else self._target["_target_"]).rpartition(".")[2]
        self._seed, self._parallel = seed, parallel
        self._points = space.grid() if chosen == "grid" else None
        self(0)  # raises its own errors now
        if self._target is not None:
            self._rehearse(space)

    def _rehearse(self, space: SearchSpace) -> None:
        """Draw two trials of an empty study: Optuna imports a sampler's packages only at the second draw."""
        study = optuna.create_study()
        try:
            for number in range(2):
                study.sampler = self(number)
                study.tell(study.ask(space.distributions), float(number))
        except ImportError as error:
            need = f": pip install {error.name}" if error.name else f": {error}"
            raise InputError(f"hydra.sweeper.sampler._target_: {self.name} needs another package{need}") from error

    @property
    def size(self) -> int | None:
        """Most trials that can be drawn; None without a limit."""
        return None if self._points is None else len(self._points)

    def __call__(self, number: int, place: int = 0) -> BaseSampler:
        """The sampler of this trial: at place 0 for the keys drawn jointly, from 1 on for each single key."""
        seed = int(np.random.SeedSequence([self._seed, number, place]).generate_state(1)[0])
        if self._points is not None:
            return Grid(self._points)
        if self.name == "random":
            return RandomSampler(seed=seed)
        if self.name == "tpe":
            return TPESampler(seed=seed, multivariate=True, constant_liar=self._parallel)
        assert self._target is not None
        of = locate(self._target["_target_"])
        if "seed" in inspect.signature(of).parameters and "seed" not in self._target:
            # All points of a quasi-random sequence come from one scramble.
            provided = {"seed": self._seed if of is QMCSampler else seed}
        else:
            provided = {}
        sampler: BaseSampler = _built(self._target, "sampler", **provided)
        return sampler


def make_pruner(chosen: Choice | None, epochs: int | None = None) -> BasePruner:
    """The pruner of this name, with settings for a dozen of trials.

    Args:
        chosen: `none` or None, `median`, `successive_halving`, `hyperband`, or a `_target_` with its arguments.
        epochs: of a whole run. In the first quarter of them a learning rate still rises and metrics are noise, so the
            median pruner waits for its end; the others begin after a ninth, and go on with one run of three.

    Raises:
        InputError: where there is no such pruner.
    """
    target = _checked("none" if chosen is None else chosen, "pruner", PRUNERS, BasePruner)
    if target is not None:
        pruner: BasePruner = _built(target, "pruner")
        return pruner
    known = epochs is not None and epochs > 0
    whole = epochs if epochs is not None and known else 9
    first = max(1, whole // 9)
    if chosen == "median":
        return MedianPruner(n_startup_trials=3, n_warmup_steps=whole // 4)
    if chosen == "successive_halving":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=3)
    if chosen == "hyperband":
        return HyperbandPruner(min_resource=first, max_resource=whole if known else "auto", reduction_factor=3)
    return NopPruner()


def check_storage(overrides: Sequence[str]) -> None:
    """Refuse an address with a password in it among the overrides of a sweep, which `sweep.json` holds as typed."""
    for override in overrides:
        key, _, value = override.partition("=")
        typed = re.sub(r"\$\{[^}]*\}", "", value)  # what the environment holds is no password yet
        if key.lstrip("+") == _STORAGE and without_passwords(typed) != typed:
            raise InputError(
                f"{_STORAGE}: {SWEEP} would hold this password: keep the address in an environment variable, and give "
                f"'{_STORAGE}=${{oc.env:STORAGE}}'."
            )


def open_storage(url: str, attempts: int = 5) -> BaseStorage:
    """The database that the user names, as Optuna and SQLAlchemy write it.

    Raises:
        InputError: where it cannot be opened.
    """
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # whatever the database's driver raises
        if attempts > 1 and "already exists" in str(error):  # the tables of another sweep that begins at this moment
            time.sleep(_PAUSE)
            return open_storage(url, attempts - 1)
        reason = without_passwords(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"hydra.sweeper.storage: it cannot be opened: {reason}") from error


def _checked(chosen: Choice, key: str, known: Sequence[str], kind: type) -> dict[str, Any] | None:
    """A `_target_` with its arguments, or None for a name."""
    where = f"hydra.sweeper.{key}"
    if isinstance(chosen, str):
        if chosen not in known:
            raise InputError(f"{where}={chosen}: there is no such {key}.{did_you_mean(chosen, known)}")
        return None
    if not isinstance(chosen, Mapping) or "_target_" not in chosen:
        raise InputError(f"{where}={chosen}: name one of {', '.join(known)}, or give the _target_ of one of Optuna's.")
    check_allowed(chosen, where)
    problems = list(target_problems(chosen, where))
    if problems:
        raise InputError(problems)
    found = locate(str(chosen["_target_"]))
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise InputError(f"{where}._target_={chosen['_target_']}: is no {key} of Optuna.")
    if found.__name__ in ("GridSampler", "BruteForceSampler"):
        raise InputError(f"{where}._target_={chosen['_target_']}: choose {where}=grid, which can be resumed.")
    return dict(chosen)


def _built(target: Mapping[str, Any], key: str, **provided: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return build(target, f"hydra.sweeper.{key}", **provided)
