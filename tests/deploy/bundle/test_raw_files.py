"""From the raw file on, a run and its bundle decide the same: PNG, DICOM of several kinds, NIfTI."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import vesalius
from raw_files import write_raw_files
from small_runs import train_in
from vesalius.data.sources import Lesions
from vesalius.deploy.bundle import export as exporting
from vesalius.deploy.bundle.export import export_run
from vesalius.deploy.bundle.golden import golden_inputs
from vesalius.deploy.bundle.reading import Bundle
from vesalius.runs.run_folder import RunFolder

pytestmark = pytest.mark.xdist_group("bundle")  # the bundle that they share takes seconds


def fresh_images(patients: int, size: int) -> np.ndarray:
    """Four slices of each new patient, (N, H, W)."""
    source = Lesions(patients=patients, slices=4, image_size=size, seed=1234)
    return np.stack([source.load(row)[0] for row in source.samples().to_dict("records")])


def check_equal(ours: pd.DataFrame, theirs: pd.DataFrame, count: int) -> float:
    """The largest difference of a probability."""
    assert theirs["problem"].dropna().unique().tolist() == []
    assert len(theirs) == count
    columns = [name for name in theirs if name.startswith("prob/")]
    pd.testing.assert_frame_equal(ours.drop(columns=columns), theirs.drop(columns=columns))
    return float(np.abs(ours[columns] - theirs[columns]).to_numpy().max())


@pytest.mark.slow
def test_files_of_every_kind(cnn_run, cnn_bundle, tmp_path, monkeypatch) -> None:
    content = (cnn_bundle / "model.onnx").read_bytes()
    monkeypatch.setattr(exporting, "onnx_model", lambda graph, facts: content)  # the net is the same
    run = RunFolder(shutil.copytree(cnn_run, tmp_path / "run"))
    config = run.config
    config["data"]["bits"] = 8
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    write_raw_files(tmp_path / "files", fresh_images(20, 28))
    export_run(run.path, tmp_path / "bundle", golden=tmp_path / "files")
    assert len(golden_inputs(Bundle(tmp_path / "bundle"))) == 80
    tables = [vesalius.load(tmp_path / model).predict(tmp_path / "files") for model in ("bundle", "run")]
    assert check_equal(*tables, 80) < 1e-4


@pytest.mark.proof
def test_a_thousand_decisions_are_equal(vesalius, tmp_path) -> None:
    overrides = ["data.source.patients=300", "data.source.image_size=40", "data.bits=8", "trainer.max_epochs=8"]
    run = train_in(tmp_path / "run", [*overrides, "trainer=cpu", "logger=none", "evaluation.baselines=false"])
    counts = write_raw_files(tmp_path / "files", fresh_images(250, 40))
    done = vesalius("export", "run=run", "output=bundle")
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    for model in ("run", "bundle"):
        done = vesalius("predict", f"{model}={model}", "input=files", f"output={model}.csv")
        assert done.returncode == 0, done.stderr
    bundle, trained = (pd.read_csv(tmp_path / f"{model}.csv") for model in ("bundle", "run"))
    difference = check_equal(bundle, trained, 1000)
    equal = int((bundle["prediction"] == trained["prediction"]).sum())
    auroc = json.loads((run.path / "metrics.json").read_text())["test"]["auroc"]
    print(f"test auroc {auroc['value']:.3f} {auroc['ci95']}; files: {counts}")
    print(f"decisions: {bundle['prediction'].value_counts().to_dict()}")
    print(f"{equal} of 1000 decisions equal; largest difference of a probability {difference:.1e}")
    assert equal == 1000
    assert difference < 1e-4
    assert bundle["prediction"].nunique() == 4
