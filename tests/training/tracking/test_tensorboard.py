"""TensorBoard as the alternative: what is written, and one clear line where it is not installed."""

import ast
import inspect
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from vesalius.config.errors import InputError
from vesalius.training.tracking.tensorboard import TensorBoardTracker

INSTALLED = find_spec("tensorboard") is not None


class Writer:
    """Notes what it is asked to write."""

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self.written: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self.written.append((name, checked(name, *arguments, **named)))


def checked(method: str, *arguments: Any, **named: Any) -> dict[str, Any]:
    """The arguments by name, as PyTorch's own writer would take them; its source can be read where it cannot run."""
    source = Path(torch.__file__).parent / "utils" / "tensorboard" / "writer.py"
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == method:
            names = [argument.arg for argument in node.args.args]
            parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
            bound = inspect.Signature(parameters).bind_partial(None, *arguments, **named)
            return dict(bound.arguments)
    raise AssertionError(f"SummaryWriter has no {method}")


@pytest.fixture
def written(monkeypatch):
    """The stand-in for `torch.utils.tensorboard`, and what was asked of it."""
    writers: list[Writer] = []

    def writer(log_dir: str) -> Writer:
        writers.append(Writer(log_dir))
        return writers[-1]

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return writers


METRICS = {
    "monitor": {"name": "val/auroc", "epoch": 1},
    "test": {"auroc": {"value": 0.9, "ci95": [0.8, 0.95], "no_skill": 0.5}},
}


def track(folder: Path, **options: Any) -> None:
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    tracker = TensorBoardTracker(**options)
    tracker.begin(folder, {"data": {"source": {"root": "/home/me/patients"}}, "seed": 3}, "name", "binary")
    for epoch in range(2):
        tracker.epoch = epoch
        tracker.show("samples", figure)
        tracker.log_epoch({"epoch": epoch, "train/loss": 0.5 - 0.1 * epoch})
    tracker.finish(METRICS, {"roc": figure, "test_images": figure})
    assert not tracker.failed


def test_what_is_written(tmp_path, written):
    track(tmp_path)
    (writer,) = written
    assert writer.log_dir == str(tmp_path / "tensorboard")
    told = [one for name, one in writer.written if name == "add_scalar"]
    scalars = {(one["tag"], one["global_step"]): one["scalar_value"] for one in told}
    assert scalars["train/loss", 0] == 0.5
    assert scalars["train/loss", 1] == 0.4
    assert scalars["best/test/auroc", 1] == 0.9
    assert scalars["best/test/auroc/ci95_low", 1] == 0.8
    figures = [(one["tag"], one["global_step"]) for name, one in writer.written if name == "add_figure"]
    assert figures == [("samples", 0), ("samples", 1), ("figures/roc", 1), ("figures/test_images", 1)]
    (config,) = [one["text_string"] for name, one in writer.written if name == "add_text"]
    assert "seed: 3" in config
    assert "/home/me" not in config
    assert writer.written[-1][0] == "close"


def test_without_images_nothing_shows_a_patient(tmp_path, written):
    track(tmp_path, images=False)
    assert [one["tag"] for name, one in written[0].written if name == "add_figure"] == ["figures/roc"]


def test_a_writer_that_fails_never_stops_the_run(tmp_path, written, monkeypatch, caplog):
    def full(self, name):
        raise OSError("no space left on device")

    monkeypatch.setattr(Writer, "__getattr__", full)
    tracker = TensorBoardTracker()
    tracker.begin(tmp_path, {}, "name")
    tracker.log_epoch({"epoch": 0, "train/loss": 0.1})
    tracker.finish(METRICS, {})
    assert caplog.text.count("TensorBoard is off") == 1


@pytest.mark.skipif(INSTALLED, reason="tensorboard is installed")
def test_without_the_package_the_message_has_the_line_to_type():
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoardTracker()


@pytest.mark.skipif(not INSTALLED, reason="tensorboard is not installed")
def test_tensorboard_itself_reads_it_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(tmp_path)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [(event.step, pytest.approx(event.value)) for event in log.Scalars("train/loss")] == [(0, 0.5), (1, 0.4)]
    assert log.Scalars("best/test/auroc")[0].value == pytest.approx(0.9)
    assert {"samples", "figures/roc", "figures/test_images"} <= set(log.Tags()["images"])
