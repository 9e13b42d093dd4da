"""Whatever a stranger hands over is refused in words: nothing runs, nothing elsewhere changes, memory stays small."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import artefacts as a
from vesalius.deploy.bundle.export import export_run

MOST_KILOBYTES = 2 * 2**20
Artefact = Callable[[Path], list[str]]

#: For each the words of the refusal; a verb that checks, as verify does, ends with 1.
ARTEFACTS: dict[str, tuple[Artefact, str]] = {
    # code that a config or a checkpoint names, for every verb
    "config: evaluate": (a.config_of("evaluate"), "data.augment._target_=evil.Net"),
    "config: embed": (a.config_of("embed"), "data.augment._target_=evil.Net"),
    "config: rerun": (a.config_of("rerun"), "data.augment._target_=evil.Net"),
    "config: resume": (a.resumed_config, "model.net._target_=shutil.copy"),
    "config: rerun, within a text": (a.text_for_later, "name=evil.Net"),
    "checkpoint: predict": (a.checkpoint_of("predict", "run=run", "input=source"), "model.net._target_=shutil.copy"),
    "checkpoint: export": (a.checkpoint_of("export", "run=run"), "model.net._target_=shutil.copy"),
    "checkpoint: serve": (a.checkpoint_of("serve", "run=run", "port=0"), "model.net._target_=shutil.copy"),
    "checkpoint: verify": (a.checkpoint_of("verify", "run=run"), "model.net._target_=shutil.copy"),
    "checkpoint: synthesize": (a.checkpoint_of("synthesize", "run=run", "n=1", family="gan"), "model.net._target_="),
    "checkpoint: ensemble": (a.members, "model.net._target_=evil.Net"),
    "checkpoint: init_from": (a.first_weights, "model.net._target_=evil.Net"),
    "checkpoint: extractor": (a.extractor, "model.net._target_=evil.Net"),
    "overrides: gain": (a.study, "model.net._target_=evil.Net"),
    "sweep, with pickles of submitit": (a.sweep, "was not begun by a command of yours"),
    "journal of a study": (a.journal, "is no journal of a study"),
    # pickles, and checkpoints that are none
    "pickle: predict": (a.pickled("predict", "run=run", "input=source"), "it is a pickle"),
    "pickle: resume": (
        a.pickled("train", "resume=run", a.DESPITE, name="run/checkpoints/last.ckpt", state="interrupted"),
        "pickle",
    ),
    "pickle: init_from": (a.pickled("train", *a.SMALL, "init_from=run"), "it is a pickle"),
    "pickle: weights": (
        a.pickled("train", *a.SMALL, "model=resnet18", "model.net.weights=run/a.pt", name="run/a.pt"),
        "it is a pickle",
    ),
    "pickle in an archive": (a.pickle_in_an_archive, "holds more than tensors and plain containers"),
    "compressed checkpoint": (a.compressed_checkpoint, "it is compressed"),
    "tensors without content": (a.in_checkpoint(a.views), "larger than the file"),
    "a config without end": (a.in_checkpoint(a.laughs), "more parts"),
    "a model of terabytes": (a.in_checkpoint(a.huge_model), "other shapes than the model"),
    "images of terabytes": (a.in_checkpoint(a.huge_image), "facts.image_size"),
    "states of the optimiser: resume": (a.resumed(a.short_states), "of another shape"),
    "states of callbacks: resume": (a.resumed(a.strange_callbacks), "does not fit this run"),
    "NaN weights": (a.in_checkpoint(a.not_finite), "not finite"),
    "NaN weights: init_from": (a.in_checkpoint(a.not_finite, "train", *a.SMALL, "init_from=run"), "not finite"),
    "wrong shapes": (a.in_checkpoint(a.other_shapes), "other shapes"),
    "truncated": (a.truncated, "cannot be read"),
    # text
    "YAML tag": (
        a.text("run/config.yaml", "!!python/object/apply:os.system [touch RAN]\n", "evaluate", "run=run"),
        "config.yaml cannot be read",
    ),
    "YAML merges": (a.text("run/config.yaml", a.merges(), "embed", "run=run"), "merges mappings"),
    "YAML references": (a.text("run/config.yaml", a.references(), "predict", "run=run", "input=run"), "more parts"),
    "YAML depth": (a.text("run/config.yaml", "[" * 100_000, "evaluate", "run=run"), "nested too deeply"),
    "JSON depth": (a.text("run/metrics.json", "[" * 10**6, "compare", "runs=[run]", "by=seed"), "nested too deeply"),
    # links and paths
    "link: evaluate": (a.link("evaluations", "evaluate", "run=run"), "a link that leads out"),
    "link: resume": (a.link("logs", "train", "resume=run", state="interrupted"), "a link that leads out"),
    "link: temporary file": (
        a.link("checkpoints/.last.ckpt.tmp", "train", "resume=run", to="outside/secret", state="interrupted"),
        "a link that leads out",
    ),
    "link: report": (a.link("predictions/test.csv", "report", "run=run", to="outside/secret"), "a link that leads out"),
    "link: config": (a.link("provenance.json", "export", "run=run", to="outside/secret"), "a link that leads out"),
    "synthetic: path": (a.synthetic("../7.png"), "files that are not in the folder"),
    "synthetic: link": (a.synthetic("7.png", linked=True), "files that are not in the folder"),
    "synthetic: sizes": (a.synthetic("7.png", height="many"), "no numbers where sizes are"),
    # bombs
    "PNG: pixels": (a.png_bomb, "more pixels than is safe"),
    "PNG: header": (a.png_of_gigapixels, "more pixels than is safe"),
    "DICOM: header": (a.dicom_header, "more than is safe"),
    "DICOM: frames": (a.dicom_frames, "cannot be decoded"),
    "DICOM: deflated": (a.dicom_deflated, "inflates to more than"),
    "NIfTI: voxels": (a.nifti_bomb, "as no real volume does"),
    "NIfTI: header": (a.nifti_header, "by its header"),
    "npz: images": (a.npz_bomb, "no array of images"),
    "npz: header": (a.npz(a.npy("(8, 1099511627776, 1099511627776)")), "shape is not that of its content"),
    "npz: objects": (a.npz_objects, "Python objects"),
    # bundles
    "bundle: path": (a.bundle(a.leaving), "not in its folder"),
    "bundle: link": (a.bundle_link, "not in its folder"),
    "bundle: sizes": (a.bundle(a.absurd), "facts.image_size"),
    "bundle: types": (a.bundle(a.no_type), "the type of"),
    "bundle: weights elsewhere": (a.external_data, "tensors in other files"),
}


def test_there_are_thirty_and_more() -> None:
    assert len(ARTEFACTS) >= 30
    verbs = {"evaluate", "embed", "rerun", "predict", "export", "serve", "verify", "synthesize", "ensemble", "gain"}
    named = {name.rpartition(": ")[2] for name in ARTEFACTS}
    assert verbs | {"resume", "init_from", "extractor", "report"} <= named


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_run(a.STORED / "cnn" / "finished", folder)
    return folder


@pytest.fixture
def place(tmp_path, exported) -> Path:
    (tmp_path / "source").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("sample_id,group_id\nsecret,secret\n")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\nclass Net: pass\n")
    a.copied(tmp_path, "run")
    shutil.copytree(exported, tmp_path / "bundle")
    return tmp_path


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.xdist_group("hostile artefacts")
@pytest.mark.parametrize("name", ARTEFACTS)
def test_it_is_refused(name, place, warm_vesalius_in, monkeypatch) -> None:
    write, words = ARTEFACTS[name]
    arguments = write(place)
    before = content_of(place / "outside")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PEAK_MEMORY", str(place / "peak"))
    done = warm_vesalius_in(place, *arguments, timeout=120)
    assert done.returncode == (1 if arguments[0] == "verify" else 2), done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "RAN").exists()
    assert content_of(place / "outside") == before
    assert max(map(int, (place / "peak").read_text().split())) < MOST_KILOBYTES
