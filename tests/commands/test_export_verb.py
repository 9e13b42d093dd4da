"""`vesalius export`, and `vesalius predict bundle=` in its place of a run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.mark.slow
def test_a_run_is_exported_and_its_bundle_predicts_what_it_does(tmp_path, vesalius_in) -> None:
    shutil.copytree(STORED / "cnn" / "finished", tmp_path / "run")
    (tmp_path / "images").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    done = vesalius_in(tmp_path, "export", "run=run", "output=my bundle", "intended_use=Tests (of this project).")
    assert done.returncode == 0, done.stderr
    assert "Exported: classifier" in done.stdout
    assert "Tests (of this project)." in (tmp_path / "my bundle" / "model_card.md").read_text()
    again = vesalius_in(tmp_path, "export", "run=run", "output=my bundle")
    assert again.returncode == 2
    assert "my bundle exists already" in again.stderr
    assert len(list(tmp_path.glob("run/exported/*"))) == 1
    tables = []
    for model in ("run=run", "bundle=my bundle"):
        done = vesalius_in(tmp_path, "predict", model, "input=images", f"output={model.partition('=')[0]}.csv")
        assert done.returncode == 0, done.stderr
        tables.append(pd.read_csv(tmp_path / f"{model.partition('=')[0]}.csv"))
    pd.testing.assert_frame_equal(*tables, atol=1e-4)
    done = vesalius_in(tmp_path, "predict", "bundle=my bundle", "input=images")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("predicted/*/predictions.csv"))) == 1
    names = {path.name for path in (tmp_path / "my bundle").iterdir()}
    hashes = json.loads((tmp_path / "my bundle" / "manifest.json").read_text())["hashes"]
    assert names == {"manifest.json", *(name.partition("/")[0] for name in hashes)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "input=."], "either run=DIR or bundle=DIR: neither is given"),
        (["predict", "run=run", "bundle=run", "input=."], "either run=DIR or bundle=DIR: both are given"),
        (["predict", "bundle=run", "input=."], "run is not a bundle: it holds no manifest.json"),
        (["export", "run=run", "part=head"], "part=head: expected model, encoder, decoder"),
        (["export", "run=nowhere"], "nowhere is not a run folder"),
    ],
)
def test_bad_input_gets_one_message_and_writes_nothing(arguments, message, tmp_path, vesalius_in) -> None:
    shutil.copytree(STORED / "cnn" / "finished", tmp_path / "run")
    before = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    done = vesalius_in(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == before
