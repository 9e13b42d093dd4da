"""`make torture`: trainings of every family are killed at random moments, and end with the bits of one never stopped.

`KILLS` is how many kills each family gets (25), `SEED` draws configurations and moments. A fifth of them, at least one,
hits two processes that train together. Of the others a fifth falls into the middle of an epoch, a fifth into a
checkpoint's half-written file, a tenth into the moment before a whole one takes its name, one into the start of the
command, and the rest comes at a random time: in the training, the evaluation or in between. Each run is killed a few
times before it may end.

Each attempt is a process of its own. Those that are killed are forks of an interpreter that has its imports done
(`warm_interpreter`), or the imports would take most of the time; the last attempt of each run is the plain command.
"""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bit_equality import differences
from kills import kill_all, killed_after, orphans
from store_runs import COMMON, FAMILIES

pytestmark = pytest.mark.torture

HELPERS = Path(__file__).parents[1] / "helpers"
KILLS, SEED = int(os.environ.get("KILLS", "25")), int(os.environ.get("SEED", "0"))
KILLS_PER_RUN = 4
ALWAYS = ["callbacks.last.every_n_steps=1", "+callbacks.killer._target_=killer.Killer", "trainer.max_epochs=4"]
ALWAYS += ["data.batch_size=8", "evaluation.probes=false"]  # 4 batches per epoch
BF16, ACCUMULATE, EMA = "trainer.precision=bf16", "trainer.accumulate_grad_batches=2", "callbacks=ema"
DROPOUT, AUGMENT = "model.net.dropout=0.3", "data/augment=standard"
#: What the runs of a family carry over besides weights and optimisers.
CONFIGURATIONS = {
    "cnn": [[DROPOUT, AUGMENT], [EMA, BF16, DROPOUT], [ACCUMULATE, EMA], ["trainer.deterministic=true", BF16]],
    "lstm": [[DROPOUT, BF16], [ACCUMULATE, DROPOUT], [EMA]],
    "autoencoder": [[AUGMENT], [EMA, ACCUMULATE], [BF16]],
    "gan": [[], ["model.n_critic=2", ACCUMULATE, "data.batch_size=4"], [BF16]],
}
DDP = {"cnn": [EMA, DROPOUT], "lstm": [ACCUMULATE, DROPOUT], "autoencoder": [BF16], "gan": []}
MOST = {"batch": 5, "rank": 5, "write": 60, "rename": 3}


def kinds_of(count: int, draw: random.Random) -> tuple[list[str], list[str]]:
    """Where each kill of a single process falls, and each of two."""
    pair = max(1, count // 5)
    of_two = (["batch", "write", "rank"] + ["time"] * pair)[:pair]
    single = ["batch"] * pair + ["write"] * pair + ["rename"] * max(1, pair // 2) + ["start"]
    single = (single + ["time"] * count)[: count - pair]
    draw.shuffle(single)
    return single, of_two


@pytest.fixture(scope="module")
def total() -> Iterator[Counter[str]]:
    """Kills of all families, and how many runs did not end with the same bits; printed at the end."""
    counts = Counter[str]()
    yield counts
    unequal, runs = counts.pop("unequal"), counts.pop("runs")
    print(f"\nTrainings: {sum(counts.values())} kills of {runs} runs, {runs - unequal} of which ended bit-identical.")


class Torture:
    """Runs of a family that are killed and resumed.

    Args:
        place: holds each run's folder and the references.
        draw: of everything random.
        warm, fresh: run `vesalius ...` in a folder.
    """

    def __init__(self, place: Path, draw: random.Random, warm, fresh, monkeypatch) -> None:
        self.place, self.draw, self.warm, self.fresh, self.monkeypatch = place, draw, warm, fresh, monkeypatch
        self.happened, self.unequal, self.runs = Counter[str](), list[str](), 0
        self.references: dict[tuple[str, ...], tuple[Path, float]] = {}

    def run(self, kinds: list[str], configurations: list[list[str]], suffix: str = "") -> None:
        """Kill runs until no kill is left in `kinds`."""
        while kinds:
            arguments = self.draw.choice(configurations)
            reference, seconds = self.reference(arguments)
            folder, self.runs = self.place / f"killed{self.runs}", self.runs + 1
            folder.mkdir()
            for _ in range(min(KILLS_PER_RUN, len(kinds))):
                kind = kinds.pop()
                if not self.attempt(folder, kind, arguments, seconds):  # it ended first: this kill hits another run
                    kinds.append(kind)
                    break
                self.happened[kind + suffix] += 1
                assert not (left := orphans(folder)), f"orphans: {left}"
            self.monkeypatch.setenv("KILL", "")
            done = self.fresh(folder, *arguments, "resume=auto", timeout=1800)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            found = differences(reference, folder / "run")
            self.unequal += [f"{folder.name}: {one}" for one in found]
            if not found:
                shutil.rmtree(folder)

    def reference(self, arguments: list[str]) -> tuple[Path, float]:
        """A run that is not killed, and its seconds; once for each configuration."""
        key = tuple(arguments)
        if key not in self.references:
            folder = self.place / f"whole{len(self.references)}"
            folder.mkdir()
            self.monkeypatch.setenv("KILL", "")
            started = time.monotonic()
            done = self.warm(folder, *arguments, timeout=1800)
            assert done.returncode == 0, done.stdout + done.stderr
            self.references[key] = folder / "run", time.monotonic() - started
        return self.references[key]

    def attempt(self, folder: Path, kind: str, arguments: list[str], seconds: float) -> bool:
        """Start or resume a run that is to be killed; whether it was."""
        self.monkeypatch.setenv("KILL", f"{kind}:{self.draw.randint(1, MOST[kind])}" if kind in MOST else "")
        moment = {"start": self.draw.uniform(0, 4), "time": self.draw.uniform(0, seconds)}.get(kind, 1800)
        with killed_after(moment, folder, kill_all):
            command = self.fresh if kind == "start" else self.warm
            done = command(folder, *arguments, "resume=auto", timeout=2000)
        return done.returncode != 0


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_killed_runs_end_with_the_same_bits(family, tmp_path, total, warm_vesalius_in, fresh_vesalius_in, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started, draw = time.monotonic(), random.Random(f"{SEED} {family}")
    single, of_two = kinds_of(KILLS, draw)
    base = ["train", *COMMON, *FAMILIES[family], *ALWAYS, "hydra.run.dir=run"]
    two = ["trainer=ddp_cpu" if one == "trainer=cpu" else one for one in base]
    torture = Torture(tmp_path, draw, warm_vesalius_in, fresh_vesalius_in, monkeypatch)
    torture.run(single, [[*base, *more] for more in CONFIGURATIONS[family]])
    torture.run(of_two, [[*two, *DDP[family]]], " of two processes")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(torture.happened.items()))
    print(
        f"\n{family}: {sum(torture.happened.values())} kills of {torture.runs} runs ({counts}), "
        f"{len(torture.references)} configurations, {time.monotonic() - started:.0f} s: "
        f"{len(torture.unequal)} differences."
    )
    total.update(torture.happened)
    total.update({"runs": torture.runs, "unequal": len({one.partition(":")[0] for one in torture.unequal})})
    assert not torture.unequal, torture.unequal
