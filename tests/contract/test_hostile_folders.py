"""A run folder or a checkpoint from someone else runs no code: what it names beyond the allowed classes is refused.

Each payload would leave a file behind, so that "nothing ran" is seen rather than believed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.runs.signature import sign, signed_targets
from vesalius.training.checkpoints import check_optimizer

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def payload(place: Path, target: str) -> dict[str, Any]:
    """A node that would create `place/RAN` if it were called, or if its module were imported."""
    source, ran = str(place / "source"), str(place / "RAN")
    nodes: dict[str, dict[str, Any]] = {
        "shutil.copy": {"src": source, "dst": ran},
        "io.open": {"file": ran, "mode": "w"},
        "numpy.savetxt": {"fname": ran, "X": [1.0]},
        "pathlib.Path.write_text": {"_args_": [{"_target_": "pathlib.Path", "_args_": [ran]}, "x"]},
        "evil.Net": {},
        "vesalius.runs.run_folder.write_atomically": {
            "path": {"_target_": "pathlib.Path", "_args_": [ran]},
            "text": "",
        },
        "vesalius.data.sources.base.np.savetxt": {"fname": ran, "X": [1.0]},
        "torch.nn.modules.module.torch.save": {"obj": [], "f": ran},
    }
    return {"_target_": target, **nodes[target]}


TARGETS = [
    *("shutil.copy", "io.open", "numpy.savetxt", "pathlib.Path.write_text", "evil.Net"),
    *("vesalius.runs.run_folder.write_atomically", "vesalius.data.sources.base.np.savetxt"),
    "torch.nn.modules.module.torch.save",
]


def in_augment(config: dict[str, Any], node: dict[str, Any]) -> None:
    config["data"]["augment"] = node


def in_source(config: dict[str, Any], node: dict[str, Any]) -> None:
    config["data"]["source"] = node


def nested(config: dict[str, Any], node: dict[str, Any]) -> None:
    config["data"]["augment"] = {
        "_target_": "vesalius.data.augment.Augment",
        "operations": {"flip": {"_target_": "vesalius.data.augment.Flip", "horizontal": [node]}},
    }


def within_an_interpolation(config: dict[str, Any], node: dict[str, Any]) -> None:
    text = yaml.safe_dump(node, default_flow_style=True, width=10**6).strip()
    config["data"]["source"]["_target_"] = "${oc.env:PWD}"
    config["data"]["augment"] = f"${{oc.create:{text}}}"


@pytest.fixture
def place(tmp_path) -> Path:
    """The folder of a user who got `run` from someone else."""
    (tmp_path / "source").write_text("x")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\nclass Net: pass\n")
    shutil.copytree(STORED / "cnn" / "finished", tmp_path / "run")
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], node: dict[str, Any]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config, node)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def assert_refused(done: Any, place: Path, name: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "RAN").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_evaluate_refuses_what_a_config_names(target, place, vesalius_in) -> None:
    edit(place / "run", in_augment, payload(place, target))
    done = vesalius_in(place, "evaluate", "run=run")
    assert_refused(done, place, f"data.augment._target_={target}: this config does not come from a command of yours")
    assert f"set VESALIUS_ALLOW={target.partition('.')[0]}." in done.stderr


@pytest.mark.parametrize("change", [in_source, nested])
def test_it_is_found_wherever_it_is(change, place, vesalius_in) -> None:
    edit(place / "run", change, payload(place, "shutil.copy"))
    assert_refused(vesalius_in(place, "evaluate", "run=run"), place, "data.")


def test_a_text_is_never_resolved_to_a_target(place, vesalius_in) -> None:
    edit(place / "run", within_an_interpolation, payload(place, "shutil.copy"))
    assert_refused(vesalius_in(place, "evaluate", "run=run"), place, "data.source._target_=${oc.env:PWD}")


def test_a_text_in_place_of_an_object_is_a_text(place) -> None:
    node = {"_target_": "vesalius.data.augment.Flip", "horizontal": f"${{oc.create:{payload(place, 'shutil.copy')}}}"}
    with pytest.raises(InputError):
        build(node, "part")
    assert not (place / "RAN").exists()


@pytest.mark.parametrize("verb", [["embed", "run=run"], ["train", "resume=run", "resume_despite=[code]"]])
def test_other_verbs_refuse_it_too(verb, place, vesalius_in) -> None:
    if verb[0] == "train":
        shutil.rmtree(place / "run")
        shutil.copytree(STORED / "cnn" / "interrupted", place / "run")
    edit(place / "run", in_augment, payload(place, "evil.Net"))
    assert_refused(vesalius_in(place, *verb), place, "data.augment._target_=evil.Net")


def test_report_shows_such_a_run_without_calling_anything(place, vesalius_in) -> None:
    edit(place / "run", in_source, payload(place, "shutil.copy"))
    done = vesalius_in(place, "report", "run=run")
    assert done.returncode == 0, done.stderr
    assert not (place / "RAN").exists()


@pytest.mark.parametrize("verb", [["evaluate", "run=run"], ["embed", "run=run"], ["predict", "run=run", "input=run"]])
def test_a_checkpoint_is_held_to_the_same_list(verb, place, vesalius_in) -> None:
    path = place / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["model"]["net"] = payload(place, "shutil.copy")
    torch.save(checkpoint, path)
    assert_refused(vesalius_in(place, *verb), place, "model.net._target_=shutil.copy")


def test_a_checkpoint_cannot_hand_over_a_function(place, vesalius_in) -> None:
    path = place / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["model"]["net"] = {
        "_target_": torch._utils._rebuild_parameter,
        "_args_": [2, True, {}],
    }
    torch.save(checkpoint, path)
    assert_refused(vesalius_in(place, "predict", "run=run", "input=run"), place, "best.ckpt cannot be read: it holds a")


@pytest.mark.parametrize("name", ["../../RAN.ckpt", "/RAN.ckpt", "..", "source"])
def test_a_checkpoint_deletes_no_file_of_another_name(name, place, vesalius_in) -> None:
    """Lightning removes the checkpoint that a better one replaces, by the name that the last one holds."""
    shutil.rmtree(place / "run")
    shutil.copytree(STORED / "cnn" / "interrupted", place / "run")
    path = place / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for key, state in checkpoint["callbacks"].items():
        if "Checkpoint" in key:
            state |= {"best_model_path": name, "kth_best_model_path": name, "best_k_models": {name: 0.0}}
    torch.save(checkpoint, path)
    done = vesalius_in(place, "train", "resume=run", "resume_despite=[code]")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is no checkpoint of its run" in done.stderr
    assert (place / "source").read_text() == "x"


def test_a_sweep_of_someone_else_is_not_resumed(place, vesalius_in) -> None:
    folder = place / "sweep"
    folder.mkdir()
    (folder / "code").mkdir()
    shutil.move(place / "evil.py", folder / "code" / "evil.py")
    content = {"schema": 1, "verb": "train", "arguments": ["seed=0,1", "model.net._target_=evil.Net"], "jobs": []}
    content |= {"directory": str(folder / "code"), "axes": {}, "sweeper": "basic", "signature": "0" * 128}
    (folder / "sweep.json").write_text(json.dumps(content))
    assert_refused(vesalius_in(place, "train", "-m", "resume=sweep"), place, "was not begun by a command of yours")


def test_overrides_within_a_signed_config_are_the_users_too(tmp_path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("cnn: ['+model.net._target_=mine.Net']\nnet: {_target_: mine.Other}\n")
    assert signed_targets(tmp_path, config) == []
    sign(tmp_path, config.read_bytes())
    assert signed_targets(tmp_path, config) == ["mine.Net", "mine.Other"]
    config.write_text(config.read_text().replace("Other", "Another"))
    assert signed_targets(tmp_path, config) == []


def test_a_signature_of_another_folder_or_content_is_none(place, vesalius_in, monkeypatch) -> None:
    """What this user trained may name the user's own code; an edited copy of it may not."""
    from vesalius.runs.run_folder import RunFolder

    (place / "mine.py").write_text("from vesalius.models.nets import SmallResNet\nclass Net(SmallResNet): pass\n")
    net = "model.net._target_=mine.Net"
    small = ["data.source.patients=48", "data.source.slices=1", "data.source.image_size=28", "trainer.max_epochs=1"]
    run = vesalius_in(place, "train", *small, net, "trainer=cpu", "logger=none", "hydra.run.dir=own")
    assert run.returncode == 0, run.stderr
    again = vesalius_in(place, "evaluate", "run=own")
    assert again.returncode == 0, again.stderr
    shutil.copytree(place / "own", place / "edited")
    edit(place / "edited", in_augment, payload(place, "shutil.copy"))
    assert RunFolder(place / "edited").config["model"]["net"]["_target_"] == "mine.Net"
    assert_refused(vesalius_in(place, "evaluate", "run=edited"), place, "data.augment._target_=shutil.copy")


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "NAdam", "RMSprop", "Adagrad", "LBFGS", "Adafactor"])
def test_states_of_optimisers_have_the_shapes_of_their_weights(kind) -> None:
    """A fused step would read and write beyond a smaller one."""
    weight = torch.nn.Parameter(torch.ones(3, 4))
    more = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(torch.optim, kind)([weight], lr=0.01, **more)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (weight**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    check_optimizer(optimizer)
    name, state = next((n, s) for n, s in optimizer.state[weight].items() if getattr(s, "ndim", 0) or n == "d")
    if kind in ("LBFGS", "Adafactor"):
        return
    spread = torch.zeros(()).expand(3, 4)
    optimizer.state[weight][name] = spread
    check_optimizer(optimizer)
    assert optimizer.state[weight][name].untyped_storage().nbytes() >= 48
    for other in (state[:1], torch.zeros(()), torch.zeros(1)):
        optimizer.state[weight][name] = other
        with pytest.raises(InputError, match="another shape"):
            check_optimizer(optimizer)
