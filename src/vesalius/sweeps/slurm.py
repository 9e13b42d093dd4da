"""Whether an allocation of SLURM fits the processes that the trainer needs. Torch-free."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from vesalius.config.errors import InputError
from vesalius.runs.sweep_folder import SweepFolder
from vesalius.sweeps.local_pool import visible_gpus


def is_queued(name: str) -> bool:
    """Whether SLURM still has a job, waiting or running; True while SLURM does not respond."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={name}"]
    try:
        reply = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    if reply.returncode != 0:
        return "invalid job id" not in reply.stderr.lower()
    return bool(reply.stdout.strip())


def check_none_queued(sweep: SweepFolder) -> None:
    """Refuse to run jobs here that SLURM still has.

    Raises:
        InputError: naming one such job.
    """
    if shutil.which("squeue") is None:
        return
    for job in sweep.jobs:
        name = sweep.cluster_name(job.number)
        if name is not None and is_queued(name):
            raise InputError(
                f"{job.path} is with SLURM as {name}: go on with hydra.launcher.cluster=slurm, or `scancel {name}`."
            )


def check_slurm(config: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """Refuse an allocation that does not fit the trainer, which would wait for processes that never come.

    Args:
        config: frozen.
        environ: of this process.

    Raises:
        InputError: with the right lines for the batch script.
    """
    if "SLURM_NTASKS" not in environ or environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return
    tasks, nodes = int(environ["SLURM_NTASKS"]), int(environ.get("SLURM_NNODES", "1"))
    devices, machines = processes_of(config, len(visible_gpus(environ)))
    if tasks != devices * machines:
        ask = f"#SBATCH --nodes={machines} --ntasks-per-node={devices}"
        raise InputError(_mismatch(tasks, nodes, devices, machines, f"ask SLURM for them with `{ask}`"))
    if tasks > 1 and "SLURM_STEP_ID" not in environ:
        raise InputError(
            f"SLURM has {tasks} tasks for this run, and one process was started: put srun before vesalius."
        )


def check_request(config: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """The same check before a job is submitted.

    Args:
        config: frozen.
        options: of the launcher.

    Raises:
        InputError: with the right options of the launcher.
    """
    nodes = options["nodes"]
    tasks = nodes * options["tasks_per_node"]
    devices, machines = processes_of(config, options["gpus_per_node"] or 0)
    if tasks != devices * machines:
        ask = f"hydra.launcher.nodes={machines} hydra.launcher.tasks_per_node={devices}"
        raise InputError(_mismatch(tasks, nodes, devices, machines, f"set {ask}"))


def _mismatch(tasks: int, nodes: int, devices: int, machines: int, cure: str) -> str:
    even = tasks % nodes == 0  # as the trainer spreads its processes
    fit = f", or set trainer.devices={tasks // nodes} trainer.num_nodes={nodes}" if even else ""
    return (
        f"SLURM is to start {tasks} processes, and trainer.devices={devices} x trainer.num_nodes={machines} needs "
        f"{devices * machines}: {cure}{fit}."
    )


def processes_of(config: Mapping[str, Any], gpus: int) -> tuple[int, int]:
    """Processes per machine and number of machines that the trainer needs; `gpus`: GPUs per machine.

    Raises:
        InputError: for devices that are neither a number nor a list of them.
    """
    trainer = config.get("trainer") or {}
    devices: Any = trainer.get("devices", "auto")
    if str(devices) in ("auto", "-1"):
        devices = max(1, gpus) if trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 1
    elif isinstance(devices, list):
        devices = len(devices)
    elif "," in str(devices):  # as Lightning reads it, `2,` is one device, named 2
        devices = len([name for name in str(devices).split(",") if name.strip()])
    elif not str(devices).isdecimal():
        raise InputError(f"trainer.devices={devices}: give a number, a list of devices, or auto.")
    return int(devices), int(trainer.get("num_nodes") or 1)
