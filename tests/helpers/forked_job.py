"""Work of a job that a template forks: it writes down what it sees, then ends as its folder's `end` asks."""

import json
import os
import random
import signal
import sys
import time

_BEFORE = os.getpid()  # of the process that imports


def forked_job(folder):
    """Write `seen.json`, print a line to both streams, and end."""
    seen = {
        "pid": os.getpid(),
        "imported_by": _BEFORE,
        "session": os.getsid(0),
        "drawn": random.random(),
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "main": sys.modules["__main__"].__spec__.name,
    }
    (folder / "seen.json").write_text(json.dumps(seen))
    print("out")
    print("err", file=sys.stderr)
    end = (folder / "end").read_text()
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "wait":
        (folder / "waits").touch()
        time.sleep(60)
    if end == "fail":
        raise ValueError("as asked")
