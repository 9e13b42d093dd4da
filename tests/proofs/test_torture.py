"""`make torture`: trainings of every family are killed at random moments, and end with the bits of one never stopped.

`KILLS` is how many kills each family gets (25), `SEED` draws the moments. A fifth of them, at least one, falls into the
middle of an epoch, a fifth into a checkpoint's half-written file, a fifth into the moment before a whole one takes its
name, and the rest comes at a random time, which may be in the imports or in the evaluation. Then a fifth
as many kills, at least one, of two processes that train together. Each run is killed a few times before it may end.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bit_equality import differences
from store_runs import COMMON, FAMILIES

pytestmark = pytest.mark.torture

HELPERS = Path(__file__).parents[1] / "helpers"
KILLS, SEED = int(os.environ.get("KILLS", "25")), int(os.environ.get("SEED", "0"))
KILLS_PER_RUN = 4
ALWAYS = ["callbacks.last.every_n_steps=1", "+callbacks.killer._target_=killer.Killer", "trainer.max_epochs=3"]
EXTRA = {"cnn": ["callbacks=ema", "model.net.dropout=0.3"], "lstm": ["trainer.accumulate_grad_batches=2"]}
DDP = "two processes"


def command(kill: str, *arguments: str) -> tuple[subprocess.Popen[str], float]:
    """A training in a session of its own, so that all of it can be killed."""
    path = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "KILL": kill, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "vesalius.cli", "train", *arguments]
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(line, env=env, start_new_session=True, **kept), time.monotonic()


def processes_of(run: Path) -> list[int]:
    """Ids of processes of this machine that work on a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word == str(run) for word in words):
            found.append(int(entry.name))
    return found


def kill_all(run: Path) -> None:
    """SIGKILL to every process of a run, as when the machine goes down."""
    for number in processes_of(run):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kinds_of(count: int, draw: random.Random) -> list[str]:
    """Where each kill falls."""
    share = max(1, count // 5)
    kinds = (["batch"] * share + ["write"] * share + ["rename"] * share)[:count]
    kinds += ["time"] * (count - len(kinds))
    draw.shuffle(kinds)
    return kinds


@pytest.mark.parametrize("family", [*sorted(FAMILIES), DDP])
def test_killed_runs_end_with_the_same_bits(family, tmp_path):
    draw = random.Random(f"{SEED} {family}")
    kinds = kinds_of(KILLS if family != DDP else max(1, KILLS // 5), draw)
    name = "cnn" if family == DDP else family
    arguments = [*COMMON, *FAMILIES[name], *EXTRA.get(name, []), *ALWAYS]
    if family == DDP:
        arguments = ["trainer=ddp_cpu", *(one for one in arguments if one != "trainer=cpu")]
    whole = tmp_path / "whole"
    process, started = command("", *arguments, f"hydra.run.dir={whole}")
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    seconds = time.monotonic() - started
    happened, runs, unequal = Counter[str](), 0, list[str]()
    while kinds:
        run, runs = tmp_path / f"killed{runs}", runs + 1
        for _ in range(min(KILLS_PER_RUN, len(kinds))):
            kind = kinds.pop()
            kill = "" if kind == "time" else f"{kind}:{draw.randint(1, {'batch': 7, 'write': 90, 'rename': 4}[kind])}"
            process, _ = command(kill, *arguments, f"hydra.run.dir={run}", "resume=auto")
            try:
                process.communicate(timeout=draw.uniform(0, seconds) if kind == "time" else 1200)
                if process.returncode == 0:  # the run ended first: this kill falls into another run
                    kinds.append(kind)
                    break
                happened[kind] += 1
            except subprocess.TimeoutExpired:
                process.kill()
                kill_all(run)
                process.communicate()
                happened["time, in the work" if (run / "state.json").is_file() else "time, in the imports"] += 1
            for _ in range(200):  # what it has started ends with it
                if not processes_of(run):
                    break
                time.sleep(0.1)
            assert not processes_of(run), "an orphan"
        process, _ = command("", *arguments, f"hydra.run.dir={run}", "resume=auto")
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, output
        assert "Traceback" not in output
        found = differences(whole, run)
        unequal += [f"{run.name}: {one}" for one in found]
        if not found:
            shutil.rmtree(run)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(happened.items()))
    print(f"\n{family}: {sum(happened.values())} kills of {runs} runs ({counts}): {len(unequal)} differences.")
    assert not unequal, unequal
