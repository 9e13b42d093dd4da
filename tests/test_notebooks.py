"""Every notebook runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


# The run that each notebook looks at, or None where it trains its own; a notebook without an entry fails.
LOOKS_AT = {
    "autoencoder": None,
    "cnn_classifier": ["data.source.patients=32"],
    "image_series": ["data=perfusion", "model=gru", "data.source.patients=48"],
}


@pytest.fixture
def run(tmp_path, cache_dir):
    """Make a finished run for a notebook to look at."""
    from vesalius.commands.train import train
    from vesalius.config.compose import load_config
    from vesalius.runs.folder import RunFolder

    def make(overrides):
        overrides = [*overrides, f"data.cache_dir={cache_dir}", "trainer=cpu", "trainer.max_epochs=1", "logger=none"]
        folder = RunFolder.create(tmp_path / "run", load_config("train", overrides), overrides)
        train(folder.path)
        return folder.path

    return make


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, run, monkeypatch):
    overrides = LOOKS_AT[path.stem]
    if overrides is not None:
        monkeypatch.setenv("VESALIUS_RUN", str(run(overrides)))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()


def test_notebooks_are_committed_without_output():
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path
