"""`hydra/sweeper=vesalius_optuna`: Optuna draws the jobs of a sweep. Imports Optuna only when it sweeps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from vesalius.config.compose import plain_options
from vesalius.config.errors import InputError


@dataclass
class VesaliusOptunaConf:
    """Options of the sweeper.

    Attributes:
        params: the search space of a config file, `key: interval(..)`; the command line overrides it.
        n_trials: number of trials in all, with failed and pruned ones; null: 20, or all points of a grid.
        sampler: tpe, random, grid, or any of Optuna's by `_target_`.
        pruner: none, median, successive_halving, hyperband, or any of Optuna's by `_target_`.
        objectives: a list of `{name, mode}` among the validation metrics; null: the run's monitor.
        storage: URL of a database that Optuna can reach; null: a journal in the sweep's folder.
        study_name: in that database; null: the sweep folder's name.
        join: whether to take part in the study of this name that another sweep has begun in this storage; the trials
            of all of them count together.
        seed: of the sampler. The seed of the runs is their own.
        timeout: seconds after which no further trial begins.
    """

    _target_: str = "hydra_plugins.vesalius_optuna.sweeper.VesaliusOptunaSweeper"
    _recursive_: bool = False
    params: dict[str, str] = field(default_factory=dict)
    n_trials: int | None = None
    sampler: Any = "tpe"
    pruner: Any = "none"
    objectives: Any = None
    storage: str | None = None
    study_name: str | None = None
    join: bool = False
    seed: int = 0
    timeout: float | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="vesalius_optuna", node=VesaliusOptunaConf, provider="vesalius"
)


class VesaliusOptunaSweeper(Sweeper):
    """Hands the jobs that Optuna draws to the launcher of Vesalius.

    Args:
        options: those of `VesaliusOptunaConf`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = plain_options(options)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the launcher.

        Raises:
            InputError: for a launcher that cannot run jobs drawn one after another.
        """
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not hasattr(self.launcher, "stream"):
            raise InputError("hydra/sweeper=vesalius_optuna needs hydra/launcher=vesalius: leave the launcher out.")

    def sweep(self, arguments: list[str]) -> Any:
        """Run all trials.

        Args:
            arguments: the overrides as typed.

        Returns:
            The best value of each objective; None without a finished trial.

        Raises:
            InputError: for a bad search space or option, and without Optuna.
        """
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            message = "hydra/sweeper=vesalius_optuna needs Optuna: pip install 'vesalius[sweep]'"
            raise InputError(message) from error
        from vesalius.sweeps.search.run import run_study

        assert self.config is not None
        assert self.hydra_context is not None
        hydra = self.config.hydra
        if hydra.job.config_name != "train":
            raise InputError(f"vesalius {hydra.job.config_name}: only trainings have an objective to search by.")
        own = ("hydra.mode=", "hydra.sweep.dir=", "hydra.launcher.resume=")
        typed: Any = OmegaConf.to_container(hydra.overrides.hydra, resolve=False)  # or passwords would stand in it
        settings = [override for override in typed if not override.startswith(own)]
        loader = self.hydra_context.config_loader
        master = self.config

        def compose(overrides: list[str]) -> DictConfig:
            return loader.load_sweep_config(master_config=master, sweep_overrides=overrides)

        return run_study(
            Path(hydra.sweep.dir),
            arguments,
            settings=settings,
            verb=hydra.job.config_name,
            slots=int(hydra.launcher.get("n_jobs") or 1),
            compose=compose,
            stream=self.launcher.stream,  # type: ignore[union-attr]
            **self.options,
        )
