"""Every notebook runs from top to bottom."""

import json
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The verb and the overrides of the run that each notebook opens, or None where it trains its own; a notebook without an
# entry fails.
SMALL_IMAGES = ["data=lesions", "data.source.patients=96", "data.source.slices=1", "data.source.image_size=28"]
OPENS = {
    "autoencoder": None,
    "cnn_classifier": ("train", ["data.source.patients=32"]),
    "deployment": ("train", ["data.source.patients=32"]),
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
# What a notebook that trains does in half a minute is shortened here.
SHORTER = {"data.source.patients=320": "data.source.patients=120", "trainer.max_epochs=8": "trainer.max_epochs=1"}


@pytest.fixture
def finish(tmp_path, cache_dir, monkeypatch):
    """Finish a run, or a closed loop, for a notebook to open."""
    from vesalius.commands.gain import gain
    from vesalius.commands.synthesize import synthesize
    from vesalius.commands.train import train
    from vesalius.config.compose import load_config
    from vesalius.runs.run_folder import RunFolder

    verbs = {"train": train, "synthesize": synthesize, "gain": gain}

    def in_this_process(verb, config, overrides, path):
        verbs[verb](RunFolder.create(path, {**config, "resume": None}, overrides).path)
        return 0, 0.0

    def run(verb, overrides):
        if verb == "train":
            overrides = [*overrides, "trainer=cpu", "trainer.max_epochs=1", "logger=none"]
        in_this_process(verb, load_config(verb, overrides), overrides, tmp_path / verb)
        return tmp_path / verb

    monkeypatch.setenv("VESALIUS_CACHE", str(cache_dir))
    monkeypatch.setattr("vesalius.studies.synthetic.run.launch", in_this_process)
    return run


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython in this process: a kernel per notebook would import everything again."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    monkeypatch.setattr(shell, "enable_gui", lambda gui=None: None)  # for `%matplotlib inline`, which needs none
    yield shell
    shell.reset(new_session=False)
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


QUICK = ("autoencoder",)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.stem in QUICK else pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, finish, monkeypatch, shell):
    opens = OPENS[path.stem]
    if opens is not None:
        verb, overrides = opens
        monkeypatch.setenv({"train": "VESALIUS_RUN", "gain": "VESALIUS_GAIN"}[verb], str(finish(verb, overrides)))
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for text, shorter in SHORTER.items() if opens is None else ():
        assert any(text in cell for cell in cells), text
        cells = [cell.replace(text, shorter) for cell in cells]
    for cell in cells:
        shell.run_cell(cell, store_history=False).raise_error()


def test_notebooks_are_committed_without_output():
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path
