"""`python -m sweep_of_a_search FOLDER STORAGE`: one of several sweeps of a search; its jobs cost nothing."""

import sys
from pathlib import Path
from types import SimpleNamespace

from fake_jobs import FakeLauncher
from vesalius.sweeps.search.run import run_study

POINTS = 16


def search(path: Path, storage: str) -> None:
    """Run a sweep's share of the search, or what was left of it."""
    launcher = FakeLauncher(path, lambda numbers: [numbers["x"]] * 3, pause=0.05)
    config = SimpleNamespace(monitor=SimpleNamespace(name="val/auroc", mode="max"), trainer={"max_epochs": 3})
    run_study(
        path,
        [f"x=range(0, {POINTS})"],
        verb="train",
        slots=1,
        compose=lambda _: config,
        stream=launcher.stream,
        params={},
        n_trials=None,
        sampler="grid",
        pruner="none",
        objectives=None,
        storage=storage,
        study_name="shared",
        join=True,
        seed=0,
        timeout=None,
    )


if __name__ == "__main__":
    search(Path(sys.argv[1]), sys.argv[2])
