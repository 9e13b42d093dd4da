"""Every notebook runs from top to bottom."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


# The verb and the overrides of what each notebook looks at, or None where it trains its own; a notebook without an
# entry fails.
SMALL_IMAGES = ["data=lesions", "data.source.patients=96", "data.source.slices=1", "data.source.image_size=28"]
LOOKS_AT = {
    "autoencoder": None,
    "cnn_classifier": ("train", ["data.source.patients=32"]),
    "gan": (
        "gain",
        [
            f"both={json.dumps([*SMALL_IMAGES, 'trainer=cpu', 'trainer.max_epochs=1', 'logger=none'])}",
            'gan=["model=gan","model.generator.width=4","model.critic.width=4"]',
            'cnn=["model=cnn","model.net.widths=[4]","data.steps_per_epoch=2","evaluation.baselines=false"]',
            "seeds=[0]",
            *(f"arms.{name}=null" for name in ("oversampled", "synthetic_half", "synthetic_2", "synthetic_only")),
        ],
    ),
    "image_series": ("train", ["data=perfusion", "model=gru", "data.source.patients=48"]),
}


@pytest.fixture
def finished(tmp_path, cache_dir, monkeypatch):
    """Make a finished run, or a finished loop, for a notebook to look at."""
    from vesalius.commands.gain import gain
    from vesalius.commands.synthesize import synthesize
    from vesalius.commands.train import train
    from vesalius.config.compose import load_config
    from vesalius.runs.run_folder import RunFolder

    verbs = {"train": train, "synthesize": synthesize, "gain": gain}

    def in_this_process(verb, config, overrides, path):
        verbs[verb](RunFolder.create(path, {**config, "resume": None}, overrides).path)
        return 0, 0.0

    def make(verb, overrides):
        if verb == "train":
            overrides = [*overrides, "trainer=cpu", "trainer.max_epochs=1", "logger=none"]
        in_this_process(verb, load_config(verb, overrides), overrides, tmp_path / verb)
        return tmp_path / verb

    monkeypatch.setenv("VESALIUS_CACHE", str(cache_dir))
    monkeypatch.setattr("vesalius.studies.synthetic.run.launch", in_this_process)
    return make


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, finished, monkeypatch):
    looks_at = LOOKS_AT[path.stem]
    if looks_at is not None:
        verb, overrides = looks_at
        monkeypatch.setenv({"train": "VESALIUS_RUN", "gain": "VESALIUS_GAIN"}[verb], str(finished(verb, overrides)))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()


def test_notebooks_are_committed_without_output():
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path
