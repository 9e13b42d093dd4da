"""`vesalius predict`: a table of predictions for new files, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dicom_maker import write_image

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a run, a folder of images, one of them damaged, and a table."""
    shutil.copytree(STORED / "cnn" / "finished", tmp_path / "run")
    (tmp_path / "my images").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (28, 28)).astype(np.uint8)).save(tmp_path / f"my images/{number}.png")
    (tmp_path / "my images/3.png").write_bytes(b"nothing")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "table.csv").write_text("id,file\n7,my images/0.png\n8,my images/gone.png\n")
    return tmp_path


def test_a_folder_gets_a_table_and_a_summary(place, vesalius_in) -> None:
    done = vesalius_in(place, "predict", "run=run", "input=my images")
    assert done.returncode == 0, done.stderr
    (written,) = place.glob("run/predicted/*/predictions.csv")
    table = pd.read_csv(written)
    assert table["input"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert table["problem"].notna().tolist() == [False, False, False, True]
    np.testing.assert_allclose(table.filter(like="prob/")[:3].sum(axis=1), 1, atol=1e-6)
    assert "3 predicted: " in done.stdout
    assert "1 refused:" in done.stdout
    assert "3.png cannot be read as an image" in done.stdout


def test_a_table_of_files_becomes_lines_of_json(place, vesalius_in) -> None:
    done = vesalius_in(place, "predict", "run=run", "input=table.csv", "column=file", "output=out.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["input"] for row in rows] == ["my images/0.png", "my images/gone.png"]
    assert rows[0]["problem"] is None
    assert [row["prob/healthy"] is None for row in rows] == [False, True]
    assert "no such file" in rows[1]["problem"]


def test_a_study_gets_a_report(place, vesalius_in) -> None:
    hd = pytest.importorskip("highdicom")
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (28, 28)).astype(np.uint8)
        write_image(place / f"study/{number}.dcm", pixels, number=number, window=(127.5, 255.0))
    done = vesalius_in(
        place, "predict", "run=run", "input=study", "reports=reports", "output=out.csv", "explain=occlusion"
    )
    assert done.returncode == 0, done.stderr
    (written,) = (place / "reports").glob("report_*.dcm")
    assert len(list((place / "reports").glob("heat_map_*.dcm"))) == 3
    groups = hd.sr.srread(written).content.get_image_measurement_groups()
    assert [group.finding_type.value for group in groups] == pd.read_csv(place / "out.csv")["prediction"].tolist()
    assert "Reports of 1 study(ies), and 3 heat map(s), are in: reports" in done.stdout


def test_a_sweep_over_runs_needs_a_folder(place, vesalius_in) -> None:
    shutil.copytree(place / "run", place / "other")
    done = vesalius_in(place, "embed", "-m", "run=run,other")
    assert done.returncode == 2, done.stdout
    assert "name the sweep's folder with hydra.sweep.dir=DIR" in done.stderr
    assert "nterpolation" not in done.stderr


def test_each_input_that_can_be_read_gets_a_picture_of_its_reasons(place, vesalius_in) -> None:
    options = ["explain=gradcam", "explain_target=cyst", "explain_arrays=true", "output=out.csv"]
    done = vesalius_in(place, "predict", "run=run", "input=my images", *options)
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (place / "out_explained").iterdir())
    assert written == [f"{number + 1:05d}_{number}_png.{kind}" for number in range(3) for kind in ("npy", "png")]
    maps = np.load(place / "out_explained" / "00001_0_png.npy", allow_pickle=False)
    assert (maps.shape, maps.dtype) == ((1, 28, 28), np.float32)
    with Image.open(place / "out_explained" / "00001_0_png.png") as picture:
        assert picture.size == (2 * 224 + 4, 224)
    empty = sum(not np.load(path).any() for path in (place / "out_explained").glob("*.npy"))
    assert empty == 3  # of a run that has hardly learned
    assert "(3 maps are empty: too little speaks for what is explained)" in done.stdout
    again = vesalius_in(place, "predict", "run=run", "input=my images", "explain=auto", "output=out.jsonl")
    assert again.returncode == 2
    assert "out_explained exists already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["input=my images", "explain=gradcma"], "explain=gradcma: there is no such method. Did you mean 'gradcam'?"),
        (["input=my images", "explain=auto", "explain_target=cist"], "target=cist: there is no such class"),
        (["input=my images", "on_bad_file=error"], "3.png cannot be read as an image"),
        (["input=my images/3.png"], "3.png cannot be read as an image"),
        (["input=nowhere"], "nowhere does not exist: correct the path"),
        (["input=my images", "output=out.txt"], "name a file that ends in .csv or .jsonl"),
        (["input=my images", "output=no/out.csv"], "there is no folder no: create it"),
        (["input=table.csv", "column=file", "output=table.csv"], "output=table.csv exists already"),
        (["input=my images", "output=folder.csv"], "output=folder.csv is a folder"),
        (["input=my images", "reports=folder.csv/no/reports"], "there is no folder folder.csv/no: create it"),
        (["input=my images", "reports=my images"], "reports=my images exists already: name a new folder"),
        (["input=my images", "reports=reports"], "there is nothing to report"),
        (["input=my images", "batch_size=0"], "batch_size=0: must be 1 or more"),
        (["input=my images", "on_bad_file=ignore"], "on_bad_file=ignore: expected skip or error"),
    ],
)
def test_bad_input_gets_one_message_and_writes_nothing(arguments, message, place, vesalius_in) -> None:
    done = vesalius_in(place, "predict", "run=run", *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [*place.glob("run/predicted/*"), *place.glob("out*"), *place.glob("reports")] == []
