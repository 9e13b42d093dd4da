"""Jobs of a sweep on SLURM, through submitit, or a rehearsal of it on this machine. Torch-free."""

import contextlib
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
#: Seconds between a rehearsed job's checks that its sweep is alive.
_CHECK = 0.5
_RESULT_BYTES = 2**20
_LOST = 143  # the exit code of a job that has left no result: cancelled, or its machine is gone


class ClusterTask:
    """One process of a job on the cluster: runs the command as a child and passes signals on to it.

    Args:
        command: of the job.
        console: file that rank 0 prints to.
        sweep: id of a process on this machine whose end also ends the job; None: the job outlives the sweep.
    """

    def __init__(self, command: Sequence[str], console: Path, sweep: int | None = None) -> None:
        self.command, self.console, self.sweep = list(command), console, sweep

    def __call__(self) -> tuple[int, list[str]]:
        """Run the command.

        Returns:
            The exit code as `subprocess` has it, and the last lines of the console.
        """
        if self._is_orphan():
            return _LOST, []
        console: IO[bytes] | None = None
        if _rank() == 0:
            self.console.parent.mkdir(exist_ok=True)
            console = self.console.open("a+b")
        # A session of its own, or it would get the scheduler's signals twice.
        self._child = subprocess.Popen(
            self.command,
            env=child_environment(_rank_variables(os.environ)),
            start_new_session=True,
            stdout=console,
            stderr=console,
        )

        def pass_on(number: int, frame: FrameType | None) -> None:
            self._child.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        code = self._wait()
        return code, [] if console is None else read_last_lines(console)

    def _wait(self) -> int:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._child.wait(timeout=_CHECK)
            if self._is_orphan():
                self._child.terminate()

    def _is_orphan(self) -> bool:
        try:
            os.kill(self.sweep or os.getpid(), 0)
        except OSError:  # there is none, or it is somebody else's by now
            return True
        return False

    def checkpoint(self) -> Any:
        """Called by submitit at a timeout or preemption: save, and continue when queued again."""
        from submitit.helpers import DelayedSubmission

        self._child.send_signal(signal.SIGTERM)
        # This runs in a signal handler, amid the `wait` above, which holds a lock: ask the system itself.
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(ClusterTask(self.command, self.console, self.sweep))


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
    process: "subprocess.Popen[bytes] | None"
    queried: float

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
        self._sweep, self._slots, self._local = sweep, slots, options["cluster"] == "local"
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
        if name is not None and not self._local and is_queued(name):  # a sweep that was stopped left it there
            tasks = list(range(self._executor._num_tasks()))
            job = self._executor.job_class(folder=self._executor.folder, job_id=name, tasks=tasks)
            self._jobs[number] = _Submitted(job, None, time.monotonic())
            return
        task = ClusterTask(command, folder.resolve() / "logs" / "console.log", os.getpid() if self._local else None)
        self._new.append((number, task))

    def ended(self) -> list[Ended]:
        """The jobs that have ended since the last call."""
        self._submit()
        found = []
        for number, submitted in list(self._jobs.items()):
            if submitted.process is not None:
                over = submitted.process.poll() is not None
            else:
                over = submitted.result is not None or self._is_gone(submitted)
            if over:
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
            if submitted.process is not None:
                submitted.process.send_signal(signal.SIGTERM)
            else:
                submitted.job.cancel(check=False)

    def kill(self) -> None:
        """Kill all jobs."""
        for submitted in self._jobs.values():
            if submitted.process is not None:
                submitted.process.kill()
            else:
                subprocess.run(["scancel", "--signal=KILL", "--full", submitted.job.job_id], check=False)

    def _submit(self) -> None:
        if not self._new:
            return
        with self._executor.batch() if not self._local else contextlib.nullcontext():
            jobs = [self._executor.submit(task) for _, task in self._new]
        for (number, _), job in zip(self._new, jobs, strict=True):
            self._jobs[number] = _Submitted(job, getattr(job, "_process", None), time.monotonic())
            if not self._local:
                self._sweep.write_cluster_name(number, job.job_id)
        self._new = []

    def _is_gone(self, submitted: _Submitted) -> bool:
        if time.monotonic() - submitted.queried < (1.0 if self._stopped else _QUERY):
            return False
        submitted.queried = time.monotonic()
        return not is_queued(submitted.job.job_id)


def make_executor(path: Path, options: Mapping[str, Any]) -> Any:
    """The submitit executor that the launcher's options describe.

    Args:
        path: the sweep's folder.
        options: of the launcher.
    """
    import submitit

    workshop = (path / WORKSHOP).resolve()
    if options["cluster"] == "local":
        executor: Any = submitit.LocalExecutor(workshop)
        gpus = options["gpus_per_node"] or 0
        executor.update_parameters(
            timeout_min=options["timeout_min"],
            tasks_per_node=options["tasks_per_node"],
            gpus_per_node=gpus,
            setup=options["setup"],
        )
        return executor
    executor = submitit.SlurmExecutor(workshop, max_num_timeout=options["max_requeues"])
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
    if kind not in ("local", "slurm"):
        raise InputError(f"hydra.launcher.cluster={kind}: choose slurm, local (a rehearsal on this machine) or null.")
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise InputError(f"hydra.launcher.cluster={kind} needs submitit: pip install 'vesalius[sweep]'") from error
    if kind == "slurm" and shutil.which("srun") is None:
        problems.append("hydra.launcher.cluster=slurm: there is no srun: start the sweep on a machine of the cluster.")
    if kind == "local" and options["nodes"] != 1:
        problems.append(f"hydra.launcher.nodes={options['nodes']}: the rehearsal has one node: set it to 1.")
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
    return int(os.environ.get("SLURM_PROCID", os.environ.get("SUBMITIT_LOCAL_GLOBALID", "0")))


def _rank_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Rank variables for the processes of a rehearsed job; on a cluster SLURM sets its own."""
    tasks = int(environ.get("SUBMITIT_LOCAL_NTASKS", "1"))
    if tasks == 1 or environ.get("SUBMITIT_EXECUTOR") != "local":
        return {}
    rank, job = environ["SUBMITIT_LOCAL_GLOBALID"], int(environ["SUBMITIT_LOCAL_JOB_ID"])
    port = 20_000 + job % 20_000
    return {"RANK": rank, "LOCAL_RANK": rank, "NODE_RANK": "0", "WORLD_SIZE": str(tasks)} | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
