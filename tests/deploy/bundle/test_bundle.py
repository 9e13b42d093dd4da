"""A bundle predicts what its run does, from the files on; and one that was changed, or is a stranger's, is refused."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import load_file

import vesalius
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.deploy.bundle import export as exporting
from vesalius.deploy.bundle import parity
from vesalius.deploy.bundle.agreement import check_agreement
from vesalius.deploy.bundle.backend import BundleBackend
from vesalius.deploy.bundle.export import export_run
from vesalius.deploy.bundle.golden import check_golden, golden_inputs
from vesalius.deploy.bundle.graphs import graph_of
from vesalius.deploy.bundle.manifest import Manifest
from vesalius.deploy.bundle.reading import MODEL, Bundle
from vesalius.deploy.bundle.session import Session
from vesalius.deploy.bundle.verify import verify_bundle
from vesalius.deploy.bundle.wire import graph_problems
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import MANIFEST
from vesalius.training.checkpoints import load_checkpoint, restore_model

pytestmark = pytest.mark.xdist_group("bundle")  # what they share takes seconds


@pytest.fixture
def copied(cnn_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cnn_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Any) -> None:
    """Change the manifest."""
    plain = json.loads((bundle / MANIFEST).read_text())
    change(plain)
    (bundle / MANIFEST).write_text(json.dumps(plain))


def replace_graph(bundle: Path, content: bytes) -> None:
    """Another graph, with its hash: as from someone who means ill."""
    (bundle / MODEL).write_bytes(content)
    edit(bundle, lambda plain: plain["hashes"].update({MODEL: file_hash(bundle / MODEL)}))


def test_files_and_arrays_get_what_the_run_predicts(cnn_run, cnn_bundle, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28)).astype(np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    run, bundle = vesalius.load(cnn_run), vesalius.load(cnn_bundle)
    for inputs in (tmp_path, list(pixels)):
        ours, theirs = bundle.predict(inputs), run.predict(inputs)
        columns = [name for name in theirs if name.startswith("prob/")]
        np.testing.assert_allclose(ours[columns], theirs[columns], atol=1e-4)
        pd.testing.assert_frame_equal(ours.drop(columns=columns), theirs.drop(columns=columns))
    assert bundle.contract == run.contract
    assert bundle.facts == run.facts
    assert bundle.metrics == run.metrics
    with pytest.raises(InputError, match="not computed by torch"):
        bundle.module  # noqa: B018


def test_the_graph_itself_decides_as_the_predictor_does(cnn_bundle) -> None:
    backend = BundleBackend(cnn_bundle)
    image = np.random.default_rng(1).integers(0, 256, (7, 1, 28, 28)).astype(np.uint8)
    outputs = backend.session.run({"image": image})
    named = [np.array(backend.facts.classes)[row].tolist() for row in outputs["decision"]]
    assert [[name] for name in vesalius.load(cnn_bundle).predict(list(image))["prediction"]] == named
    with pytest.raises(InputError, match=r"takes uint8 \(batch, 1, 28, 28\) as image, not float32"):
        backend.session.run({"image": image.astype(np.float32)})


def test_golden_inputs_can_be_checked_by_who_receives_them(cnn_bundle, copied) -> None:
    bundle = Bundle(cnn_bundle)
    assert check_golden(bundle, Session.of(bundle)) <= 1e-4
    assert len(golden_inputs(bundle)) == 4
    (file, *_) = sorted((copied / "golden" / "files").iterdir())
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file)
    edit(copied, lambda plain: plain["hashes"].update({"golden/files/0.png": file_hash(file)}))
    with pytest.raises(RunFailed, match="golden input 0"):
        check_golden(Bundle(copied), Session.of(Bundle(copied)))


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "model_card.md", "requirements.txt"])
def test_a_bundle_is_loaded_only_if_every_file_is_as_exported(name, copied) -> None:
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=rf"{name} is not the file that was exported"):
        BundleBackend(copied)


@pytest.mark.parametrize("name", ["model.onnx", "metrics.json", "golden/files/1.png", "weights.safetensors"])
def test_a_changed_or_missing_file_is_refused_by_name(name, copied) -> None:
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=rf"{name} is not the file that was exported .* from its source again"):
        Bundle(copied).verify()
    (copied / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        Bundle(copied).verify()


def test_a_newer_schema_and_a_damaged_manifest_are_refused(copied) -> None:
    edit(copied, lambda plain: plain.update(schema=2))
    with pytest.raises(InputError, match="has schema 2, and this version of Vesalius reads 1: upgrade it"):
        vesalius.load(copied)
    (copied / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        vesalius.load(copied)


DAMAGES: list[Any] = [
    lambda plain: plain.pop("kind"),
    lambda plain: plain.update(kind="pickle"),
    lambda plain: plain.update(facts=[]),
    lambda plain: plain["facts"].update(image_size=[1 << 40, 1]),
    lambda plain: plain["facts"].update(channels="3"),
    lambda plain: plain["facts"].update(more=1),
    lambda plain: plain["facts"].update(value_max=7),
    lambda plain: plain["facts"].update(classes=[1, 2]),
    lambda plain: plain["contract"]["read"].update(window=[1]),
    lambda plain: plain["contract"]["read"].update(unit="file"),
    lambda plain: plain["contract"].update(series="no"),
    lambda plain: plain["contract"].update(bits=12),
    lambda plain: plain["inputs"].append(3),
    lambda plain: plain["inputs"][0].update(shape=["batch", -1]),
    lambda plain: plain.update(hashes=None),
    lambda plain: plain.update(schema="1"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_manifest_of_a_stranger_is_checked_value_by_value(damage, copied) -> None:
    edit(copied, damage)
    with pytest.raises(InputError, match=r"damaged manifest .* take the bundle from its source"):
        vesalius.load(copied)


def test_a_manifest_comes_back_as_it_was_written(cnn_bundle) -> None:
    plain = json.loads((cnn_bundle / MANIFEST).read_text())
    assert Manifest.from_dict(plain, "x").to_dict() == plain


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "link"])
def test_no_path_leaves_the_folder(name, copied) -> None:
    secret = copied.parent / "secret"
    secret.write_text("secret")
    (copied / "link").symlink_to(secret)
    edit(copied, lambda plain: plain["hashes"].update({name: file_hash(secret)}))
    with pytest.raises(InputError, match="is not in its folder: the bundle is unsafe"):
        Bundle(copied).verify()


def external_data(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def external_data_in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_tensor("inner", TensorProto.FLOAT, [1], [0.0])
    external = helper.make_tensor("outer", TensorProto.FLOAT, [1], [0.0])
    external.external_data.add(key="location", value="secret")
    constant = helper.make_node("Constant", [], ["y"], value=external)
    branch = helper.make_graph([constant], "branch", [], [], [inner])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Shell", ["image"], ["z"], domain="com.evil"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (external_data, "keeps tensors in other files"),
        (external_data_in_a_branch, "keeps tensors in other files"),
        (foreign_operator, "operators of the domain 'com.evil'"),
    ],
)
def test_a_graph_that_reaches_out_is_not_run(change, why, copied) -> None:
    model = onnx.load(copied / MODEL)
    assert graph_problems(model.SerializeToString()) == []
    change(model)
    replace_graph(copied, model.SerializeToString())
    with pytest.raises(InputError, match=f"is not run: .*{why}"):
        vesalius.load(copied)


def test_what_is_no_graph_and_a_graph_of_something_else_are_refused(cnn_bundle, copied) -> None:
    content = (cnn_bundle / MODEL).read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(1, len(content), 40):
        graph_problems(content[:cut])  # ends, without an error of another kind
    replace_graph(copied, b"\x08")
    with pytest.raises(InputError, match="no ONNX graph"):
        vesalius.load(copied)
    model = onnx.load(cnn_bundle / MODEL)
    model.graph.output.pop()
    replace_graph(copied, model.SerializeToString())
    with pytest.raises(InputError, match="has not the inputs and outputs of its manifest"):
        vesalius.load(copied)


def test_a_missing_package_and_a_folder_that_is_no_bundle_have_a_cure(cnn_bundle, tmp_path, monkeypatch) -> None:
    with pytest.raises(InputError, match="is not a bundle: it holds no manifest"):
        BundleBackend(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs the package 'onnxruntime': pip install 'vesalius\[deploy\]'"):
        vesalius.load(cnn_bundle)


CONTRADICTIONS: list[Any] = [
    (lambda plain: plain["facts"].update(image_size=[32, 32]), "the graph takes other inputs than the contract states"),
    (lambda plain: plain["facts"].update(value_max=65535), "the graph takes other inputs"),
    (lambda plain: plain["contract"].update(series=True), "the graph takes other inputs"),
    (
        lambda plain: [plain["facts"][name].pop() for name in ("classes", "class_counts")],
        "the manifest names 3 classes, and the graph gives 4",
    ),
    (lambda plain: plain["decision"].update(threshold=0.1), "the decision in the manifest is not that of metrics.json"),
]


@pytest.mark.parametrize(("change", "why"), CONTRADICTIONS)
def test_a_manifest_that_contradicts_the_graph_or_the_metrics_is_refused(change, why, copied) -> None:
    edit(copied, change)
    with pytest.raises(InputError, match=f"contradicts itself .*{why}.*take it from its source again"):
        vesalius.load(copied)


def test_a_manifest_that_states_other_sizes_than_the_graph_is_refused(copied) -> None:
    edit(copied, lambda plain: plain["inputs"][0].update(shape=["batch", 1, 32, 32]))
    with pytest.raises(InputError, match="has not the inputs and outputs of its manifest"):
        vesalius.load(copied)


def test_a_bundle_is_verified_from_the_files_on(cnn_bundle, copied) -> None:
    found = verify_bundle(cnn_bundle)
    assert found.files == len(Bundle(cnn_bundle).manifest.hashes)
    assert found.difference <= 1e-4
    assert found.sha256 == file_hash(cnn_bundle / MANIFEST)
    (copied / "model_card.md").write_text("better")
    with pytest.raises(InputError, match=r"model_card\.md is not the file that was exported"):
        verify_bundle(copied)


def test_a_golden_file_that_the_model_does_not_take_is_refused_by_its_own_name(cnn_run, without_tracing, tmp_path):
    Image.fromarray(np.zeros((28, 28), np.uint16)).save(tmp_path / "patient 7.png")
    with pytest.raises(InputError, match=r"golden=.*: patient 7\.png has uint16 values"):
        export_run(cnn_run, tmp_path / "bundle", golden=tmp_path / "patient 7.png")


@pytest.fixture
def without_tracing(cnn_bundle, monkeypatch) -> None:
    """An export writes the graph of the shared bundle: to trace it takes seconds."""
    content = (cnn_bundle / MODEL).read_bytes()
    monkeypatch.setattr(exporting, "onnx_model", lambda graph, facts: content)


@pytest.mark.usefixtures("without_tracing")
def test_an_export_that_differs_is_refused_and_leaves_nothing(cnn_run, tmp_path, monkeypatch) -> None:
    graph_of = exporting.graph_of

    def changed(model: Any, *arguments: Any) -> Any:
        model.net.head.weight.data.mul_(1.02)
        return graph_of(model, *arguments)

    monkeypatch.setattr(exporting, "graph_of", changed)
    with pytest.raises(RunFailed, match="differs from the trained model: probabilities"):
        export_run(cnn_run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_tracing")
def test_the_users_files_are_copied_by_numbers(cnn_run, tmp_path) -> None:
    own = tmp_path / "own" / "Jane Doe"
    own.mkdir(parents=True)
    for name in ("Doe 10.png", "Doe 9.png"):
        Image.fromarray(np.full((28, 28), 10 * len(name), np.uint8)).save(own / name)
    export_run(cnn_run, tmp_path / "bundle", golden=tmp_path / "own")
    files = sorted((tmp_path / "bundle" / "golden" / "files").rglob("*.png"))
    assert [file.relative_to(tmp_path / "bundle").as_posix() for file in files] == [
        "golden/files/0/0.png",
        "golden/files/0/1.png",
    ]
    assert files[0].read_bytes() == (own / "Doe 9.png").read_bytes()
    assert all(b"Doe" not in file.read_bytes() for file in (tmp_path / "bundle").rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"golden": "nowhere"}, "golden=nowhere does not exist"),
        ({"golden": "."}, "holds 0 files"),
        ({"part": "decoder"}, "has no such part: choose model or encoder"),
        ({"output": "."}, "exists already"),
        ({"output": "file/bundle"}, "cannot be created"),
    ],
)
@pytest.mark.usefixtures("without_tracing")
def test_bad_options_are_refused_and_leave_nothing(options, why, cnn_run, tmp_path, monkeypatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    if "file" in options.get("output", ""):
        (tmp_path / "file").write_text("")
        options = {"output": "../file/bundle"}
    with pytest.raises(InputError, match=why):
        export_run(cnn_run, **{"output": "bundle", **options})
    assert list(place.iterdir()) == []


def test_weights_are_those_of_the_run_by_their_names(cnn_run, cnn_bundle) -> None:
    trained = load_checkpoint(cnn_run / "checkpoints" / "best.ckpt")["state_dict"]
    weights = load_file(cnn_bundle / "weights.safetensors")
    assert weights.keys() == trained.keys()
    assert all(torch.equal(weights[name], value) for name, value in trained.items())


def test_a_model_in_half_precision_is_exported_in_32_bits(cnn_run) -> None:
    checkpoint = load_checkpoint(cnn_run / "checkpoints" / "best.ckpt")
    graph = graph_of(restore_model(checkpoint).bfloat16(), Facts.from_dict(checkpoint["facts"]), {}, "model")
    assert {value.dtype for value in graph.module.state_dict().values() if value.is_floating_point()} == {torch.float32}
    outputs = graph.module(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    assert [output.dtype for output in outputs] == [getattr(torch, spec.dtype) for spec in graph.outputs]


def test_a_graph_that_gives_something_else_than_it_states_is_refused(copied) -> None:
    specs = Bundle(copied).manifest
    square = [replace(spec, shape=("batch", "batch")) if spec.name == "decision" else spec for spec in specs.outputs]
    image = np.zeros((2, 1, 28, 28), np.uint8)
    with pytest.raises(InputError, match=r"states bool \(batch, batch\) as decision, and gives bool \(2, 4\)"):
        Session((copied / MODEL).read_bytes(), specs.inputs, square).run({"image": image})


def test_differences_are_relative_to_the_scale_of_an_output() -> None:
    wanted = {"values": np.array([[1000.0, 0.0]]), "decision": np.array([True])}
    assert check_agreement(wanted, {**wanted, "values": np.array([[1000.05, 0.0]])}, "x") == pytest.approx(5e-5)
    for worse in ([[1000.2, 0.0]], [[np.nan, 0.0]]):
        with pytest.raises(RunFailed, match="values of x"):
            check_agreement(wanted, {**wanted, "values": np.array(worse)}, "x")
    with pytest.raises(RunFailed, match="decision of x"):
        check_agreement(wanted, {**wanted, "decision": np.array([False])}, "x")
    with pytest.raises(RunFailed, match="has the shape"):
        check_agreement(wanted, {**wanted, "decision": np.array([True, True])}, "x")


def test_large_batches_of_long_series_are_left_out_of_the_comparison(cnn_run, cnn_bundle, monkeypatch) -> None:
    checkpoint, bundle = load_checkpoint(cnn_run / "checkpoints" / "best.ckpt"), Bundle(cnn_bundle)
    facts = Facts.from_dict(checkpoint["facts"])
    graph = graph_of(restore_model(checkpoint), facts, {}, "model")
    monkeypatch.setattr(parity, "_MOST_PIXELS", 2 * 28 * 28)
    found = parity.compare_with_model(graph, Session.of(bundle), facts)
    assert (found["batches"], found["inputs"]) == ([1, 2], 3)


@pytest.mark.parametrize("threads", ["1", "2,1", "many", ""])
def test_the_environment_sets_the_threads(threads, cnn_bundle, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    image = np.zeros((1, 1, 28, 28), np.uint8)
    assert Session.of(Bundle(cnn_bundle)).run({"image": image})["decision"].sum() == 1


@pytest.mark.parametrize("decision", [3, "x", [1], True])
def test_a_strangers_decision_is_checked(decision, copied) -> None:
    metrics = json.loads((copied / "metrics.json").read_text())
    (copied / "metrics.json").write_text(json.dumps({**metrics, "decision": decision}))
    edit(copied, lambda plain: plain["hashes"].update({"metrics.json": file_hash(copied / "metrics.json")}))
    with pytest.raises(InputError, match="decision is not what a run writes"):
        DecisionRule.of_metrics({"decision": decision}, Bundle(copied).manifest.facts)
    with pytest.raises(InputError, match="the decision in the manifest is not that of metrics"):
        vesalius.load(copied)
