"""Jobs of a sweep on SLURM, through submitit. Torch-free."""

import io
import os
import pickle
import pickletools
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from vesalius.config.errors import InputError
from vesalius.launch.child import child_environment
from vesalius.runs.sweep_folder import SweepFolder
from vesalius.sweeps.local_pool import Ended, read_last_lines
from vesalius.sweeps.slurm import is_queued

#: Where submitit keeps its scripts, results and logs, below the sweep's folder.
WORKSHOP = ".submitit"
#: Seconds between queries of the scheduler, which serves others too.
_QUERY = 20.0
_RESULT_BYTES = 2**20
_LOST = 143  # the exit code of a job that has left no result: cancelled, or its machine is gone


class ClusterTask:
    """One process of a job on the cluster: runs the command as a child and passes signals on to it.

    Args:
        command: of the job.
        console: file that rank 0 prints to.
    """

    def __init__(self, command: Sequence[str], console: Path) -> None:
        self.command, self.console = list(command), console

    def __call__(self) -> tuple[int, list[str]]:
        """Run the command.

        Returns:
            The exit code as `subprocess` has it, and the last lines of the console.
        """
        console: IO[bytes] | None = None
        if _rank() == 0:
            self.console.parent.mkdir(exist_ok=True)
            console = self.console.open("a+b")
        # A session of its own, or it would get the scheduler's signals twice.
        self._child = subprocess.Popen(
            self.command,
            env=child_environment(),
            start_new_session=True,
            stdout=console,
            stderr=console,
        )

        def pass_on(number: int, frame: FrameType | None) -> None:
            self._child.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        code = self._child.wait()
        return code, [] if console is None else read_last_lines(console)

    def checkpoint(self) -> Any:
        """Called by submitit at a timeout or preemption: save, and continue when queued again."""
        from submitit.helpers import DelayedSubmission

        self._child.send_signal(signal.SIGTERM)
        # This runs in a signal handler, amid the `wait` above, which holds a lock: ask the system itself.
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(ClusterTask(self.command, self.console))


def _read_plain(content: bytes) -> Any:
    """What a small pickle of plain containers holds; one that would reserve memory of its own choice is refused."""
    if len(content) > _RESULT_BYTES:
        raise ValueError("it is too large")
    for operation, argument, _ in pickletools.genops(content):
        if "PUT" in operation.name and isinstance(argument, int) and argument > len(content):
            raise ValueError("it reserves memory")
    return _PlainUnpickler(io.BytesIO(content)).load()


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, text and containers of them, which is all that a job returns; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


@dataclass
class _Submitted:
    job: Any
    queried: float
    missing: int = 0  # queries in a row in which the scheduler no longer has the job

    @property
    def result(self) -> tuple[int, list[str]] | None:
        """Exit code and last lines as returned by rank 0; None before that."""
        file = (self.job.task(0) if self.job.num_tasks > 1 else self.job).paths.result_pickle
        if not file.exists():
            return None
        try:
            with file.open("rb") as opened:
                content = opened.read(_RESULT_BYTES + 1)
            outcome, result = _read_plain(content)
            code, lines = result if outcome == "success" else (_LOST, str(result).splitlines()[-1:])
            return int(code), [str(line) for line in lines]
        except Exception as error:  # damaged ones raise nearly anything
            return _LOST, [f"{file.name} is not the result of a job: {error}"]


class ClusterPool:
    """Jobs as jobs of the scheduler.

    Args:
        sweep: the sweep's folder; stores the scheduler's name of each job.
        options: of the launcher.
        slots: most jobs that are submitted and not ended.
    """

    def __init__(self, sweep: SweepFolder, options: Mapping[str, Any], slots: int) -> None:
        self._sweep, self._slots = sweep, slots
        self._executor = make_executor(sweep.path, options)
        self._new: list[tuple[int, ClusterTask]] = []
        self._jobs: dict[int, _Submitted] = {}
        self._stopped = False

    @property
    def free(self) -> bool:
        """Whether one more job may be submitted."""
        return len(self._new) + len(self._jobs) < self._slots

    def start(self, number: int, command: Sequence[str], folder: Path) -> None:
        """Submit a job, together with those that are started right after it: as an array."""
        name = self._sweep.cluster_name(number)
        if name is not None and is_queued(name):  # a sweep that was stopped left it there
            tasks = list(range(self._executor._num_tasks()))
            job = self._executor.job_class(folder=self._executor.folder, job_id=name, tasks=tasks)
            self._jobs[number] = _Submitted(job, time.monotonic())
            return
        self._new.append((number, ClusterTask(command, folder.resolve() / "logs" / "console.log")))

    def ended(self) -> list[Ended]:
        """The jobs that have ended since the last call."""
        self._submit()
        found = []
        for number, submitted in list(self._jobs.items()):
            if submitted.result is not None or self._is_gone(submitted):
                del self._jobs[number]
                code, last_lines = submitted.result or (
                    _LOST,
                    [f"it left no result: see {self._executor.folder.name}/"],
                )
                found.append(Ended(number, code, last_lines))
        return found

    def stop(self, number: int) -> None:
        """Have all jobs save and end; queued jobs are cancelled."""
        self._submit()
        self._stopped = True
        for submitted in self._jobs.values():
            submitted.job.cancel(check=False)

    def kill(self) -> None:
        """Kill all jobs."""
        for submitted in self._jobs.values():
            subprocess.run(["scancel", "--signal=KILL", "--full", submitted.job.job_id], check=False)

    def _submit(self) -> None:
        if not self._new:
            return
        with self._executor.batch():
            jobs = [self._executor.submit(task) for _, task in self._new]
        for (number, _), job in zip(self._new, jobs, strict=True):
            self._jobs[number] = _Submitted(job, time.monotonic())
            self._sweep.write_cluster_name(number, job.job_id)
        self._new = []

    def _is_gone(self, submitted: _Submitted) -> bool:
        if time.monotonic() - submitted.queried < (1.0 if self._stopped else _QUERY):
            return False
        submitted.queried = time.monotonic()
        submitted.missing = 0 if is_queued(submitted.job.job_id) else submitted.missing + 1
        return submitted.missing > 1  # a shared disk may show a result later than the queue shows the end


def make_executor(path: Path, options: Mapping[str, Any]) -> Any:
    """The submitit executor that the launcher's options describe.

    Args:
        path: the sweep's folder.
        options: of the launcher.
    """
    import submitit

    executor = submitit.SlurmExecutor((path / WORKSHOP).resolve(), max_num_timeout=options["max_requeues"])
    chosen = {key: options[key] for key in ("partition", "account", "gpus_per_node", "cpus_per_task")}
    executor.update_parameters(
        job_name=f"vesalius-{path.resolve().name}",
        nodes=options["nodes"],
        ntasks_per_node=options["tasks_per_node"],
        time=options["timeout_min"],
        array_parallelism=options["array_parallelism"],
        additional_parameters=options["additional_parameters"] or None,
        setup=options["setup"] or None,
        **{key: value for key, value in chosen.items() if value is not None},
    )
    return executor


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse impossible options before anything is composed.

    Raises:
        InputError: naming all of them.
    """
    kind, problems = options["cluster"], []
    if kind != "slurm":
        raise InputError(f"hydra.launcher.cluster={kind}: choose slurm, or null for this machine.")
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise InputError(f"hydra.launcher.cluster={kind} needs submitit: pip install 'vesalius[sweep]'") from error
    if shutil.which("srun") is None:
        problems.append("hydra.launcher.cluster=slurm: there is no srun: start the sweep on a machine of the cluster.")
    for key in ("nodes", "tasks_per_node", "timeout_min", "array_parallelism", "n_jobs"):
        if options[key] < 1:
            problems.append(f"hydra.launcher.{key}={options[key]}: at least 1.")
    if options["gpus_per_job"]:
        problems.append(
            "hydra.launcher.gpus_per_job is of this machine: on a cluster set hydra.launcher.gpus_per_node."
        )
    if problems:
        raise InputError(problems)


def _rank() -> int:
    return int(os.environ.get("SLURM_PROCID", "0"))
