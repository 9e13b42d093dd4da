"""`vesalius ...` whose runs cost nothing (see `fake_worker`)."""

import sys
from pathlib import Path

from vesalius import cli
from vesalius.launch import ahead, launch, template
from vesalius.sweeps import scheduler as job_stream


def work_command(verb, folder):
    """In place of the real one."""
    return [sys.executable, str(Path(__file__).with_name("fake_worker.py")), str(folder)]


if __name__ == "__main__":
    job_stream.work_command = launch.work_command = ahead.work_command = work_command
    template.can_fork = lambda: False  # a fake worker is a script and no module of this package
    sys.exit(cli.main())
