"""A PostgreSQL server in a folder of its own, without a network."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def server_programs() -> Path | None:
    """The folder of the server's programs; None where it is not installed."""
    found = shutil.which("initdb") or (str(_INSTALLED[-1]) if _INSTALLED else None)
    return None if found is None else Path(found).parent


@contextlib.contextmanager
def running_postgresql() -> Iterator[str]:
    """The URL of a database on a server that runs until the block ends; the server refuses to be run by root."""
    programs = server_programs()
    # Not below pytest's folder, which other users may not enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    own: dict[str, object] = {"cwd": folder, "check": True, "capture_output": True}
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        shutil.chown(folder, account.pw_uid, account.pw_gid)
        own |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data, options = str(folder / "data"), f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", str(folder / "log")]
    try:
        subprocess.run([programs / "initdb", "-D", data, "-U", "vesalius", "-A", "trust"], **own)
        subprocess.run([*control, "-o", options, "start"], **own)
        try:
            yield f"postgresql+pg8000://vesalius@/postgres?unix_sock={folder}/.s.PGSQL.5432"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **own)
    finally:
        shutil.rmtree(folder)
