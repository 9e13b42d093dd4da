"""A SLURM of one node on this machine, with all of its files in a folder; needs to be root."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
_CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def can_run_slurm() -> bool:
    """Whether SLURM is installed and may be started."""
    return os.getuid() == 0 and all(map(shutil.which, _PROGRAMS)) and Path("/sys/fs/cgroup/freezer").is_dir()


@contextlib.contextmanager
def running_slurm(cpus: int) -> Iterator[dict[str, str]]:
    """The environment in which commands reach the cluster, until the block ends.

    Args:
        cpus: of the node; those of the machine may be fewer.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    config = _CONFIG.format(folder=folder, host=socket.gethostname(), ports=_free_ports(2), cpus=cpus)
    (folder / "slurm.conf").write_text(config)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    services = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        )
        if not time.sleep(1)  # each needs the one before it
    ]
    try:
        _wait_until_idle(environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root", "--signal=KILL", "--full"], env=environment, check=False)
        for service in reversed(services):
            service.terminate()
        for service in services:
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.wait(timeout=10)
            service.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_idle(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while True:
        reply = subprocess.run(["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True)
        if reply.stdout.strip() == "idle":
            return
        assert time.monotonic() < deadline, reply
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
