"""`make torture`, second part: sweeps and searches are killed at random moments, and end as ones never stopped.

`SWEEP_KILLS` (20) hit sweeps, half as many hit searches with Optuna. Each kill is one of these: of the sweep's own
process, after which its jobs save what they have; of one job; of the process of which the jobs are forks; of everything
at once, as when the machine goes down.
Afterwards the sweep is resumed. At its end no job is lost, doubled or numbered otherwise, no process is left, and each
job has the bits of the same job of a sweep that was not killed. One sweep
in three is the plain command, whose jobs are forks of a template; the others are forks of a `warm_interpreter`, and so
are their jobs.
"""

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bit_equality import differences
from kills import kill, kill_all, killed_after, orphans, processes_in
from store_runs import COMMON, FAMILIES

pytestmark = pytest.mark.torture

KILLS, SEED = int(os.environ.get("SWEEP_KILLS", "20")), int(os.environ.get("SEED", "0"))
KILLS_PER_SWEEP = 5
_IMPORTS = 4.0  # seconds, about
LEARNING_RATE = "model.optimizer.lr=tag(log, interval(1e-4, 1e-1))"
SEARCH = ["hydra/sweeper=vesalius_optuna", LEARNING_RATE, "hydra.sweeper.n_trials=4"]
RUN = [*COMMON, *FAMILIES["cnn"], "model.net.dropout=0.3", "callbacks.last.every_n_steps=1", "trainer.max_epochs=4"]
#: Arguments of each kind; trials of two slots depend on which ends first unless they are drawn at random.
KINDS = {
    "sweeps": [
        ["seed=0,1,2,3", "hydra.launcher.n_jobs=2"],
        ["seed=0,1", "model.net.dropout=0.2,0.4", "callbacks=ema"],
    ],
    "searches": [
        [*SEARCH, "hydra.launcher.n_jobs=2", "hydra.sweeper.sampler=random"],
        [*SEARCH, "hydra.sweeper.sampler=tpe"],
    ],
}


def kill_sweep(place: Path) -> int:
    """Only the process of the sweep."""
    return kill(*_by_role(place)[0])


def kill_template(place: Path) -> int:
    """The process of which the jobs are forks, if there is one."""
    return kill(*_by_role(place)[1])


def kill_job(place: Path) -> int:
    """One of the jobs that run, if any does."""
    return kill(*_by_role(place)[2][:1])


def _by_role(place: Path) -> tuple[list[int], list[int], list[int]]:
    """Processes that work in a folder: the sweep, whose parent does not; the template of the jobs; the jobs."""
    found = processes_in(place)
    sweep = [number for number, parent in found.items() if parent not in found]
    template = [
        number for number in found if b"vesalius.launch.template" in _command_of(number) and number not in sweep
    ]
    forks = [number for number, parent in found.items() if parent in template]
    template = [number for number in template if found[number] in sweep]
    return sweep, template, forks or [number for number in found if number not in (*sweep, *template)]


def _command_of(number: int) -> bytes:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


ENDS: dict[str, Callable[[Path], int]] = {
    "the sweep": kill_sweep,
    "a job": kill_job,
    "the template": kill_template,
    "everything": kill_all,
}


def jobs_of(folder: Path) -> list[dict[str, Any]]:
    """Number, overrides and state of each job, as `sweep.json` lists them."""
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    kept = [{key: job.get(key) for key in ("number", "overrides", "state", "objective")} for job in jobs]
    return sorted(kept, key=lambda job: job["number"])


def trials_of(folder: Path) -> list[tuple[Any, ...]]:
    """Number, parameters, state and values of each trial; nothing for a sweep without a study."""
    from vesalius.sweeps.search.journal import JOURNAL, open_journal

    if not (folder / JOURNAL).exists():
        return []
    import optuna

    trials = optuna.load_study(study_name="study", storage=open_journal(folder / JOURNAL)).trials
    return [(trial.number, trial.params, trial.state.name, trial.values) for trial in trials]


def unequal_parts(folder: Path, reference: Path) -> list[str]:
    """In what two sweeps differ that were asked for the same."""
    found = []
    for name, part in (("jobs", jobs_of), ("trials", trials_of), ("folders", run_folders)):
        if part(folder) != part(reference):
            found.append(f"{name}: {part(folder)} and {part(reference)}")
    for name in run_folders(folder):
        found += [f"job {name}: {one}" for one in differences(reference / name, folder / name)]
    return found


def run_folders(folder: Path) -> list[str]:
    """Names of all run folders of a sweep."""
    return sorted(path.parent.name for path in folder.glob("*/config.yaml"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_killed_sweeps_end_as_others(kind, tmp_path, warm_vesalius_in, fresh_vesalius_in, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started, draw = time.monotonic(), random.Random(f"{SEED} {kind}")
    left, happened, swept, unequal = KILLS if kind == "sweeps" else max(1, KILLS // 2), Counter[str](), 0, list[str]()
    references: dict[int, tuple[Path, float]] = {}
    while left:
        which, swept = swept % 2, swept + 1
        arguments = ["train", "-m", *RUN, *KINDS[kind][which], "hydra.sweep.dir=sweep"]
        if which not in references:
            references[which] = whole_sweep(warm_vesalius_in, tmp_path / f"whole{which}", arguments)
        reference, seconds = references[which]
        place, listed = tmp_path / f"killed{swept}", list[int]()
        vesalius_in, latest = warm_vesalius_in, seconds * 0.6
        if swept % 3 == 1:
            vesalius_in, latest = fresh_vesalius_in, latest + 2 * _IMPORTS
        place.mkdir()
        for _ in range(min(KILLS_PER_SWEEP, left)):
            end = draw.choice(sorted(ENDS))
            with killed_after(draw.uniform(0, latest), place, ENDS[end]) as killed:
                done = vesalius_in(place, *arguments, "resume=auto", timeout=1800)
            if not killed.is_set():  # it ended first, or no job was running
                assert done.returncode == 0, done.stdout + done.stderr
                break
            left, happened[end] = left - 1, happened[end] + 1
            assert not (alive := orphans(place)), f"orphans: {alive}"
            if (place / "sweep/sweep.json").exists():
                now = [job["number"] for job in json.loads((place / "sweep/sweep.json").read_text())["jobs"]]
                assert set(listed) <= set(now), f"a job was lost: {listed} and {now}"
                assert len(now) == len(set(now)), f"a job is doubled: {now}"
                listed = now
        done = vesalius_in(place, *arguments, "resume=auto", timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert not (alive := orphans(place)), f"orphans: {alive}"
        found = unequal_parts(place / "sweep", reference)
        unequal += [f"{place.name}: {one}" for one in found]
        if not found:
            shutil.rmtree(place)
    counts = ", ".join(f"{count} of {end}" for end, count in sorted(happened.items()))
    print(
        f"\n{kind}: {sum(happened.values())} kills of {swept} ({counts}), {time.monotonic() - started:.0f} s: "
        f"{len(unequal)} differences."
    )
    assert not unequal, unequal


def whole_sweep(vesalius_in: Callable[..., Any], place: Path, arguments: list[str]) -> tuple[Path, float]:
    """A sweep that is not killed, and its seconds."""
    place.mkdir()
    started = time.monotonic()
    done = vesalius_in(place, *arguments, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "sweep", time.monotonic() - started
