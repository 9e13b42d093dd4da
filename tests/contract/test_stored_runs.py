"""A run folder that is stored opens for ever: one of each family, written by `tests/helpers/store_runs.py`.

A failure here means that runs which users have can no longer be read: mend the reader, and do not store the runs again.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

STORED = Path(__file__).parents[1] / "stored_runs"
FAMILIES = ("autoencoder", "cnn", "gan", "lstm")


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(params=["cnn", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES if name != "cnn")])
def stored(request, tmp_path) -> Path:
    """A copy of the stored folders of a family."""
    return Path(shutil.copytree(STORED / request.param, tmp_path / request.param))


#: Metrics that have had another estimator since these runs were stored.
CHANGED = {"ece"}


def values(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: entry["value"] for name, entry in metrics["test"].items() if name not in CHANGED}


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_no_family_is_left_out() -> None:
    assert sorted(path.name for path in STORED.iterdir()) == sorted(FAMILIES)


def test_it_is_evaluated_again_with_the_same_numbers(stored, vesalius_in) -> None:
    done = vesalius_in(stored, "evaluate", "run=finished")
    assert done.returncode == 0, done.stderr
    (again,) = stored.glob("finished/evaluations/*/metrics.json")
    assert values(read(again)) == pytest.approx(values(read(stored / "finished/metrics.json")), rel=1e-3, abs=1e-3)


def test_it_is_resumed_to_the_same_end(stored, vesalius_in) -> None:
    done = vesalius_in(stored, "train", "resume=interrupted", "resume_despite=[code]")
    assert done.returncode == 0, done.stderr
    resumed, finished = (read(stored / name / "metrics.json") for name in ("interrupted", "finished"))
    assert read(stored / "interrupted/state.json")["attempt"] == 2
    assert values(resumed) == pytest.approx(values(finished), rel=1e-2, abs=1e-2)


def test_it_is_reported(stored, vesalius_in) -> None:
    done = vesalius_in(stored, "report", "run=.", "images=false")
    assert done.returncode == 0, done.stderr
    states = pd.read_csv(stored / "report.csv")["state"].tolist()
    assert sorted(states) == ["done", "interrupted"]


def test_it_embeds_or_synthesizes(stored, vesalius_in) -> None:
    if stored.name == "gan":
        done = vesalius_in(stored, "synthesize", "run=finished", "n=4")
        assert done.returncode == 0, done.stderr
        assert len(list(stored.glob("finished/synthetic/*/images/*/*.png"))) == 4
        return
    done = vesalius_in(stored, "embed", "run=finished")
    assert done.returncode == 0, done.stderr
    (table,) = stored.glob("finished/embeddings/*/features.csv")
    assert len(pd.read_csv(table)) == 48
