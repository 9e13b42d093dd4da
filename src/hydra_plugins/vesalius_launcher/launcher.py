"""`hydra/launcher=vesalius`: each job of a sweep is a frozen config and a fresh process in a folder of its own."""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from vesalius.config.compose import one_line, plain_options
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SWEEP, SweepFolder, SweepJob, take_folder

Jobs = Iterator[tuple[int, list[str]]]


@dataclass
class VesaliusLauncherConf:
    """Options of the launcher.

    Attributes:
        n_jobs: number of jobs that run at once.
        gpus_per_job: GPUs that each job has to itself; 0: all jobs see all GPUs.
        threads: of each process of a job; null: the cores are divided among the jobs.
        forkserver: whether jobs are forks of one process that has the imports done, on Linux; else, and always on a
            cluster, each is a fresh interpreter.
        resume: whether the sweep's folder holds the sweep to resume; set by `resume=DIR`.
        cluster: null: slots of this machine; slurm: jobs of the scheduler.
        partition: of the scheduler.
        account: that the scheduler charges.
        nodes: machines per job.
        tasks_per_node: processes per machine, one per device.
        gpus_per_node: GPUs on each.
        cpus_per_task: cores of each process.
        timeout_min: minutes after which a job is stopped, and queued again.
        array_parallelism: number of jobs of an array that run at once.
        additional_parameters: further options of `sbatch`, without the dashes.
        setup: lines of the script before the job.
        max_requeues: how often a job that ran out of time is queued again.
    """

    _target_: str = "hydra_plugins.vesalius_launcher.launcher.VesaliusLauncher"
    n_jobs: int = 1
    gpus_per_job: int = 0
    threads: int | None = None
    forkserver: bool = True
    resume: bool = False
    cluster: str | None = None
    partition: str | None = None
    account: str | None = None
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    timeout_min: int = 240
    array_parallelism: int = 256
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    max_requeues: int = 3


ConfigStore.instance().store(group="hydra/launcher", name="vesalius", node=VesaliusLauncherConf, provider="vesalius")


class VesaliusLauncher(Launcher):
    """Runs the jobs of a sweep in processes of their own.

    Args:
        options: those of `VesaliusLauncherConf`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = plain_options(options)
        self._composed: dict[int, DictConfig | None] = {}  # while other jobs run: a free slot need not wait

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the options and lock the sweep's folder.

        Raises:
            InputError: for a folder that is in use or not empty, and for impossible options.
        """
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        HydraConfig.instance().set_config(config)  # for the command line, which asks where the sweep was
        self.path = Path(config.hydra.sweep.dir)
        self._check_options()
        self._lock = take_folder(self.path, resume=self.options["resume"])  # before anything in it is read

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a known list of jobs.

        Args:
            job_overrides: of each; in a sweep that is resumed those of `sweep.json` go before.
            initial_job_idx: number of the first.

        Returns:
            Hydra's record of each job; its `return_value` is the monitored metric of the best checkpoint, or NaN.

        Raises:
            InputError: for a sweep without jobs.
        """
        if not job_overrides:
            raise InputError("The sweep has no job: give each key at least one value.")
        if not (self.path / SWEEP).is_file():
            settings = [text for text in self.config.hydra.overrides.hydra if not text.startswith(_OWN)]
            arguments = [*settings, *self.config.hydra.overrides.task]
            SweepFolder.create(self.path, verb=self._verb, arguments=arguments, axes={}, sweeper="basic")
        sweep = SweepFolder(self.path)
        sweep.plan_jobs({initial_job_idx + place: list(own) for place, own in enumerate(job_overrides)})
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        planned = {job.number: list(job.overrides) for job in sweep.jobs if job.number in numbers}
        waiting = deque(sorted(planned.items()))
        ended: dict[int, SweepJob] = {}

        def jobs() -> Jobs:
            while waiting:
                yield waiting.popleft()

        def done(job: SweepJob) -> None:
            ended[job.number] = job

        def compose_next(running: Mapping[int, Path]) -> None:
            if not waiting:
                return
            number, overrides = waiting[0]
            if number in self._composed or (self.path / str(number)).exists():
                return  # one of an earlier attempt has its config in its folder
            self._composed = {number: None}
            with suppress(InputError):  # which is raised again in its turn
                self._composed[number] = self._compose(overrides)

        self._run(jobs(), done, compose_next, known=len(planned))
        return [_job_return(ended[number]) for number in sorted(ended)]

    def stream(
        self,
        jobs: Jobs,
        done: Callable[[SweepJob], None],
        tick: Callable[[Mapping[int, Path]], None] | None = None,
    ) -> None:
        """Run jobs that are drawn one by one; the sweep's folder holds a `sweep.json` already.

        Args:
            jobs: number and overrides; the next one is drawn only when a slot is free.
            done: called at the end of each job, also of one that was refused or found finished.
            tick: called about twice a second with the run folders of the running jobs.

        Raises:
            SystemExit: 130 or 143 after a signal, once all jobs have saved their state.
        """
        self._run(jobs, done, tick)

    @property
    def _verb(self) -> str:
        return str(self.config.hydra.job.config_name)

    def _check_options(self) -> None:
        from vesalius.sweeps.local_pool import make_slots
        from vesalius.sweeps.slurm import processes_of

        if self.options["cluster"] is None:
            trainer = plain_options({"trainer": self.config.get("trainer")})
            ranks, _ = processes_of(trainer, self.options["gpus_per_job"])
            self._slots = make_slots(*(self.options[key] for key in ("n_jobs", "gpus_per_job", "threads")), ranks=ranks)
            return
        from vesalius.sweeps.submitit_pool import check_options

        check_options(self.options)

    def _run(
        self,
        jobs: Jobs,
        done: Callable[[SweepJob], None],
        tick: Callable[[Mapping[int, Path]], None] | None,
        known: int | None = None,
    ) -> None:
        from vesalius.launch.template import Template, can_fork
        from vesalius.sweeps.live_table import SweepBoard, shows_table
        from vesalius.sweeps.local_pool import JobPool, Pool
        from vesalius.sweeps.resume import flags_of
        from vesalius.sweeps.scheduler import JobStream
        from vesalius.sweeps.slurm import check_none_queued
        from vesalius.sweeps.submitit_pool import ClusterPool

        sweep = SweepFolder(self.path)
        if "flags" not in sweep.content:
            sweep.write_flags(flags_of(sys.argv[1:]))
        pool: Pool
        slots = self.options["n_jobs"]
        if self.options["cluster"] is None:
            if self.options["resume"]:
                check_none_queued(sweep)
            template = Template() if self.options["forkserver"] and can_fork() else None
            pool = JobPool(self._slots, consoles=slots > 1 or shows_table(), template=template)
        else:
            slots = known or slots  # the scheduler counts by itself
            pool = ClusterPool(sweep, self.options, slots)
        board = SweepBoard(list(sweep.content["axes"]), total=known, slots=slots)
        JobStream(sweep, self._verb, pool, self._prepare, board).run(jobs, done, tick)

    def _prepare(self, number: int, overrides: list[str]) -> RunFolder:
        """Compose the config of a job, freeze it and create its folder, through the task function.

        Raises:
            InputError: for a bad config.
        """
        config = self._composed.pop(number, None)
        if config is None:
            config = self._compose(overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        outcome = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if isinstance(outcome._return_value, Exception):  # reading `return_value` would print it
            raise outcome._return_value
        folder = outcome.return_value
        assert isinstance(folder, RunFolder)
        if self.options["cluster"] is not None:
            from vesalius.sweeps.slurm import check_request

            try:
                check_request(folder.config, self.options)
            except InputError:
                folder.discard()
                raise
        if folder.path.resolve() != (self.path / str(number)).resolve():
            folder.discard()
            raise InputError("hydra.sweep.subdir: the folder of a job is its number: leave it out.")
        return folder

    def _compose(self, overrides: list[str]) -> DictConfig:
        try:
            return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(one_line(error)) from error


_OWN = ("hydra.mode=", "hydra.sweep.dir=", "hydra.launcher.resume=")


def _job_return(job: SweepJob) -> JobReturn:
    objective = math.nan if job.objective is None else job.objective
    outcome = JobReturn(overrides=list(job.overrides), working_dir=str(job.path), status=JobStatus.COMPLETED)
    outcome.return_value = objective
    return outcome
