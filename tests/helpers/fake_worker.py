"""The work of a run folder that costs nothing: epochs that only pass, started as real work is.

`seed=13` fails, `seed=14` refuses its config, `seed=15` kills itself; with `FAKE_DEAF` none can be asked to stop.
"""

import contextlib
import os
import signal
import sys
import time

from vesalius.config.errors import InputError
from vesalius.launch.rendezvous import ranks_of
from vesalius.launch.worker import enter, rank
from vesalius.runs.run_folder import RunFolder, write_atomically, write_json


def work(path):
    """Pass `trainer.max_epochs` epochs of `FAKE_PAUSE` seconds each, going on behind those that are passed."""
    folder = RunFolder(path)
    config = folder.config
    if "FAKE_DEAF" in os.environ:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    note(path, "start")
    if rank() > 0:
        return
    meet(path)
    try:
        with folder.attempt():
            print(f"threads {os.environ.get('OMP_NUM_THREADS')} gpus {os.environ.get('CUDA_VISIBLE_DEVICES')}")
            with at_work(path):
                epochs(path, config)
    except InputError:
        folder.discard()
        raise
    finally:
        note(path, "end")


@contextlib.contextmanager
def at_work(path):
    """Write down when this process works on the run; one that is killed does not get to say that it ends."""
    with (path.parent / "worked").open("a") as log:
        print("in", file=log, flush=True)
        try:
            yield
        finally:
            print("out", file=log, flush=True)


def meet(path):
    """Begin when all ranks are there, as those of a real run do."""
    ranks, deadline = ranks_of(os.environ), time.monotonic() + 50
    while ranks and (path.parent / "log").read_text().count(f"start {path.name} ") < ranks.world:
        if time.monotonic() > deadline:
            raise RuntimeError(f"fewer than {ranks.world} ranks have started")
        time.sleep(0.02)


def epochs(path, config):
    seed, history = config["seed"], path / "history.csv"
    if seed == 14:
        raise InputError("seed=14: there is no such luck.")
    passed = history.read_text().splitlines()[1:] if history.exists() else []
    for epoch in range(len(passed), config["trainer"]["max_epochs"]):
        time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))
        passed.append(f"{epoch},{0.5 + epoch / 100 + seed / 1000}")
        write_atomically(history, "\n".join([f"epoch,{config['monitor']['name']}", *passed]) + "\n")
        if seed == 13:
            raise RuntimeError("bad luck")
        if seed == 15:
            os.kill(os.getpid(), signal.SIGKILL)
    write_json(path / "metrics.json", {"monitor": {**config["monitor"], "best": 0.5 + seed / 1000, "epoch": 0}})


def note(path, what):
    """When each job began and ended, in the sweep's folder."""
    with (path.parent / "log").open("a") as log:
        log.write(f"{what} {path.name} {time.time()}\n")


if __name__ == "__main__":
    sys.exit(enter(work, sys.argv[1:]))
