"""Every notebook runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache_dir):
    """A finished run for the notebooks to look at."""
    from vesalius.commands.train import train
    from vesalius.config.compose import load_config
    from vesalius.runs.folder import RunFolder

    overrides = ["data.source.patients=32", f"data.cache_dir={cache_dir}", "trainer=cpu", "trainer.max_epochs=1"]
    path = tmp_path_factory.mktemp("notebook") / "run"
    folder = RunFolder.create(path, load_config("train", [*overrides, "logger=none"]), overrides)
    train(folder.path)
    return folder.path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, run, monkeypatch):
    monkeypatch.setenv("VESALIUS_RUN", str(run))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()


def test_notebooks_are_committed_without_output():
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path
