"""Nothing but the documented exceptions, in bounded time and memory, whatever is read.

Each takes a few seconds; `make fuzz MINUTES=5` takes as long as asked. What was found is kept below, in `FOUND`.
"""

import contextlib
import gzip
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import JPEGLSLossless, RLELossless

from dicom_maker import write_cine, write_enhanced, write_image
from fuzzing import explore, mutations
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.formats.dicom.headers import read_image_header
from vesalius.data.formats.dicom.reading import NotDicom
from vesalius.data.formats.images import decode_image
from vesalius.data.formats.nifti import read_grid, read_volume
from vesalius.data.sources.tables.table import Table
from vesalius.evaluation.decision import DecisionOptions, fit_decision, score_decision
from vesalius.evaluation.scoring import score_splits, score_table
from vesalius.evaluation.verification import verify
from vesalius.runs.outcome import read_table
from vesalius.runs.run import read_run
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint

STORED = Path(__file__).parents[1] / "stored_runs"
SECONDS = 60 * float(os.environ.get("MINUTES", "0")) or 4.0
Check = Callable[[Any], None]
Target = tuple[st.SearchStrategy[Any], Check, tuple[type[Exception], ...]]


# --- overrides -------------------------------------------------------------------------------------------------------

_VERBS = ["train", "evaluate", "predict", "compare", "report", "synthesize", "gain", "audit", "export", "embed"]
_SPECIAL = [
    *(
        "null",
        "[]",
        "{}",
        "1e400",
        "-inf",
        "nan",
        "???",
        "${seed}",
        "${a.b}",
        "${oc.env:HOME}",
        "[1,2",
        "'",
        '"',
        "a,b",
    ),
    *(
        "choice(1,2)",
        "range(1,5)",
        "interval(0,1)",
        "glob(*)",
        "${",
        "}",
        "\\",
        "extend_list(1)",
        "0x1",
        "1_0",
        " ",
        "",
    ),
    *(
        "a=b",
        "{a:1}",
        "[[[[[[[[[[1]]]]]]]]]]",
        "~x",
        "~/x",
        "../x",
        "!!python/name:os.system",
        "${${x}}",
        "\x00",
        "é\u202e",
    ),
    *("9" * 5000, "[" * 3000, "${oc.decode:'${x}'}", "{_target_: os.system}", "sort(3,2,1)", "shuffle(1,2)", "int(a)"),
]
_KEYS = [
    *(
        "seed",
        "name",
        "model",
        "data",
        "trainer",
        "logger",
        "data/augment",
        "experiment",
        "data.source.patients",
        "resume",
    ),
    *("model.net.widths", "callbacks.best", "trainer.max_epochs", "data.source", "run", "input", "runs", "by", "study"),
    *(
        "hydra.run.dir",
        "hydra/launcher",
        "hydra.searchpath",
        "_target_",
        "model._target_",
        "init_from",
        "data.fold",
        "n",
    ),
]


def overrides(place: Path) -> Target:
    value = st.one_of(st.sampled_from(_SPECIAL), st.text(max_size=12), st.integers().map(str), st.floats().map(str))
    key = st.one_of(st.sampled_from(_KEYS), st.sampled_from(_KEYS), st.text(max_size=8))
    prefix = st.sampled_from(["", "", "", "+", "++", "~"])
    pair = st.tuples(prefix, key, st.sampled_from(["=", "=", "=", "", "=="]), value).map("".join)
    inputs = st.tuples(st.sampled_from(_VERBS), st.lists(st.one_of(pair, pair, pair, st.text(max_size=20)), max_size=4))

    def check(drawn: tuple[str, list[str]]) -> None:
        load_config(*drawn)

    return inputs, check, (InputError,)


# --- tables ----------------------------------------------------------------------------------------------------------

_TABLE = (
    "file,finding,patient,size,split,when,sex\n"
    "a.png,nodule,p1,1.5,train,2020-01-01T10:00:00,f\nb.png,cyst,p2,2,test,2020-01-02,m\n"
    "c.png,nodule,p3,,val,12:30,f\nd.png,cyst,p1,-3e2,,0.5,m\n"
)


def tables(place: Path) -> Target:
    for name in "abcd":
        Image.new("L", (4, 4)).save(place / f"{name}.png")
    originals = [_TABLE.encode(), _TABLE.replace(",", ";").encode("utf-16"), _TABLE.replace(",", "\t").encode("cp1252")]
    originals += [b"PK\x03\x04" + bytes(60), b"\xd0\xcf\x11\xe0" + bytes(60)]
    cell = st.one_of(
        st.sampled_from(
            ["a.png", "b.png", "p1", "", "NA", "nan", "1e999", "-0", "train", "0", "1", "=1+1", '"', "none"]
        ),
        st.text(max_size=6),
    )
    rows = st.lists(st.lists(cell, min_size=1, max_size=8).map(",".join), max_size=8)
    written = rows.map(lambda lines: "\n".join([_TABLE.splitlines()[0], *lines]).encode("utf-8", "replace"))
    options = st.fixed_dictionaries(
        {
            "target": st.sampled_from(["finding", "size", ["finding", "sex"], "absent", None]),
            "group": st.sampled_from(["patient", "none"]),
        },
        optional={
            "task": st.sampled_from(["auto", "binary", "multiclass", "multilabel", "ordinal", "regression"]),
            "split": st.just("split"),
            "subgroups": st.just(["sex"]),
            "separator": st.sampled_from(["|", " ", "u"]),
            "classes": st.sampled_from([["cyst", "nodule"], [], ["x", "x"], ["1"]]),
            "unmatched": st.sampled_from(["skip", "error"]),
            "series": st.just("patient"),
            "time": st.just("when"),
            "unit": st.sampled_from(["slice", "volume", "time_series"]),
            "replace": st.sampled_from([{"cyst": None}, {"nodule": "cyst"}]),
        },
    )

    def check(drawn: tuple[bytes, dict[str, Any]]) -> None:
        (place / "table.csv").write_bytes(drawn[0])
        Table(str(place / "table.csv"), path="file", pseudonyms=False, **drawn[1]).samples()

    return st.tuples(st.one_of(mutations(originals), written), options), check, (InputError,)


# --- images ----------------------------------------------------------------------------------------------------------


def dicom(place: Path) -> Target:
    grey, colour = np.arange(64, dtype=np.uint16).reshape(8, 8), np.zeros((8, 8, 3), np.uint8)
    paths = [write_image(place / "grey", grey), write_image(place / "rle", grey, transfer_syntax=RLELossless)]
    paths += [write_image(place / "colour", colour, photometric="RGB")]
    paths += [write_cine(place / "cine", np.zeros((3, 8, 8), np.uint8))]
    paths += [write_image(place / "jpls", grey, transfer_syntax=JPEGLSLossless)]
    paths += [write_enhanced(place / "enhanced", np.zeros((3, 8, 8), np.uint16))]
    files = Path(pydicom.__file__).parent / "data" / "test_files"
    names = (
        "CT_small",
        "MR_small_RLE",
        "examples_palette",
        "SC_rgb_jpeg",
        "MR_small_jp2klossless",
        "image_dfl",
        "rtplan",
    )
    paths += [path for name in names if (path := files / f"{name}.dcm").is_file()]
    windows = st.sampled_from(["auto", "none", (40.0, 400.0)])
    frames = st.sampled_from([None, [0], [1]])

    def check(drawn: tuple[bytes, Any, Any]) -> None:
        content, window, numbers = drawn
        (place / "file").write_bytes(content)
        with contextlib.suppress(InputError, NotDicom):
            read_image_header(place / "file", "file")
        decode_file(place / "file", window=window, frames=numbers)

    contents = [path.read_bytes() for path in paths]
    return st.tuples(mutations(contents, header=2500), windows, frames), check, (InputError,)


def nifti(place: Path) -> Target:
    contents: list[tuple[str, bytes]] = []
    voxels = np.arange(60).reshape(3, 4, 5)
    for kind in (np.uint8, np.int16, np.float32, np.float64):
        image = nibabel.Nifti1Image(voxels.astype(kind), np.diag([1.0, -2.0, 3.0, 1.0]))
        contents.append((".nii", image.to_bytes()))
    contents.append(
        (".nii", nibabel.Nifti2Image(voxels.astype(np.int16)[..., None].repeat(2, 3), np.eye(4)).to_bytes())
    )
    contents.append((".mgh", nibabel.MGHImage(voxels.astype(np.float32), np.eye(4)).to_bytes()))
    colours = np.zeros((3, 4, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    contents.append((".nii", nibabel.Nifti1Image(colours, np.eye(4)).to_bytes()))
    packed = [(ending, st.just(content)) for ending, content in contents]
    inputs = st.one_of(
        *(st.tuples(st.just(ending), mutations([content], header=360), st.booleans()) for ending, content in contents),
        *(
            st.tuples(st.just(f"{ending}.gz"), content.map(gzip.compress), st.just(False))
            for ending, content in packed[:1]
        ),
        st.tuples(st.just(".nii.gz"), mutations([gzip.compress(contents[0][1])]), st.just(False)),
    )
    windows = st.sampled_from(["auto", "none", (40.0, 400.0)])

    def check(drawn: tuple[tuple[str, bytes, bool], Any, Any]) -> None:
        (ending, content, squeeze), window, nan = drawn
        if squeeze and ending == ".nii":
            ending, content = ".nii.gz", gzip.compress(content, 1)
        path = place / f"volume{ending}"
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            read_grid(path)
        read_volume(path, window=window, nan=nan)

    return st.tuples(inputs, windows, st.sampled_from([0.0, "error"])), check, (InputError,)


def images(place: Path) -> Target:
    contents, chance = [], np.random.default_rng(0)
    pixels = chance.integers(0, 255, (9, 11, 4), dtype=np.uint8)
    plain = {"L": pixels[..., 0], "RGB": pixels[..., :3], "RGBA": pixels, "LA": pixels[..., :2], "CMYK": pixels}
    pictures = [Image.fromarray(array, mode) for mode, array in plain.items()]
    pictures += [
        pictures[0].convert("1"),
        pictures[1].convert("P"),
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257),
    ]
    pictures += [Image.fromarray(pixels[..., 0].astype(np.float32)), Image.fromarray(pixels[..., 0].astype(np.int32))]
    forms = [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ]
    forms += [("JPEG", {}), ("BMP", {}), ("WEBP", {}), ("JPEG2000", {}), ("PPM", {}), ("TIFF", {"compression": "jpeg"})]
    for picture in pictures:
        for form, more in forms:
            file = io.BytesIO()
            try:
                picture.save(file, form, **more)
            except (OSError, KeyError, ValueError, SystemError):
                continue
            contents.append(file.getvalue())

    def check(content: bytes) -> None:
        (place / "image").write_bytes(content)
        decode_image(place / "image")

    return mutations(contents, header=200), check, (InputError,)


# --- predictions and metrics -----------------------------------------------------------------------------------------


def predictions(place: Path) -> Target:
    import shutil

    run = Path(shutil.copytree(STORED / "cnn" / "finished", place / "run"))
    (place / "link").mkdir()
    checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
    facts = Facts.from_dict(checkpoint["facts"])
    original = (run / "predictions" / "test.csv").read_bytes()
    head, *lines = original.decode().splitlines()
    cell = st.sampled_from(
        ["0", "1", "-1", "0.5", "1e-320", "nan", "inf", "", "x", "p1", "TRUE", "1.5", "9" * 400, '"']
    )
    rows = st.lists(
        st.one_of(st.sampled_from(lines), st.lists(cell, min_size=1, max_size=9).map(",".join)), max_size=12
    )
    written = rows.map(lambda some: "\n".join([head, *some]).encode())

    def check(content: bytes) -> None:
        (run / "predictions" / "test.csv").write_bytes(content)
        verify(RunFolder(run), checkpoint)
        found, _ = read_run(run, "run")
        assert found is not None
        table = read_table(found, "test.csv")
        score_table(table, facts)

    return st.one_of(mutations([original, original[:600]]), written), check, (InputError,)


_SHARES = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 1e-320, 1e-17, 1 - 1e-16, 0.25]),
    st.floats(0, 1),
    st.floats(allow_nan=True, width=32),
)
_RULES = ["argmax", "youden", "sensitivity@0.95", "specificity@0.9", "cost@20"]


@st.composite
def _scored(draw: st.DrawFn) -> tuple[str, int, str, list[pd.DataFrame]]:
    task = draw(st.sampled_from(["binary", "multiclass", "multilabel", "ordinal", "regression"]))
    count = 2 if task == "binary" else draw(st.integers(1 if task in ("multilabel", "regression") else 3, 4))
    tables = []
    for _ in range(2):
        size, valid = draw(st.integers(0, 14)), draw(st.integers(0, 9)) > 0
        groups = draw(st.lists(st.integers(0, draw(st.integers(0, 14))), min_size=size, max_size=size))
        frame = pd.DataFrame({"sample_id": [f"s{n}" for n in range(size)], "group_id": [f"p{g}" for g in groups]})
        share = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 1e-320, 1e-17]), st.floats(0, 1)) if valid else _SHARES
        values = np.array(draw(st.lists(share, min_size=size * count, max_size=size * count))).reshape(size, count)
        if task == "regression":
            number = st.floats(-1e6, 1e6) if valid else st.floats()
            truth = draw(st.lists(number, min_size=size * count, max_size=size * count))
            for k in range(count):
                frame[f"target/{k}"], frame[f"pred/{k}"] = truth[k * size : (k + 1) * size], values[:, k]
        else:
            if valid and task != "multilabel":
                total = values.sum(axis=1, keepdims=True)
                values = np.where(total > 0, values / np.where(total > 0, total, 1), 1 / count)
            label = st.integers(0, (1 if task == "multilabel" else count - 1) + (not valid))
            for name in [f"target/{k}" for k in range(count)] if task == "multilabel" else ["target"]:
                frame[name] = draw(st.lists(label, min_size=size, max_size=size))
            for k in range(count):
                frame[f"prob/{k}"] = values[:, k]
        tables.append(frame)
    return task, count, draw(st.sampled_from(_RULES)), tables


def finite(node: Any) -> None:
    """Numbers of entries are finite or missing, and lie in their intervals."""
    if isinstance(node, dict):
        if "ci95" in node and node.get("value") is not None:
            assert np.isfinite(node["value"]), node
            if node["ci95"] is not None:
                low, high = node["ci95"]
                assert low <= high, node
        for value in node.values():
            finite(value)


def metrics(place: Path) -> Target:
    def check(drawn: tuple[str, int, str, list[pd.DataFrame]]) -> None:
        task, count, rule, (val, test) = drawn
        names = tuple(map(str, range(count)))
        zeros = (0.0,) * count
        facts = Facts(
            task, names, 1, (8, 8), 255.0, (1,) * count, count, (0.5,), (0.2,), target_mean=zeros, target_std=zeros
        )
        found = score_splits({"val": val, "test": test}, facts, rule)
        finite(found)
        if task != "regression":
            threshold = found["decision"]["threshold"]
            fitted = fit_decision(val, facts, DecisionOptions(rule=rule), threshold)
            finite(score_decision(test, facts, {**found, **fitted}))

    return _scored(), check, (InputError,)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "overrides": overrides,
    "tables": tables,
    "dicom": dicom,
    "nifti": nifti,
    "images": images,
    "predictions": predictions,
    "metrics": metrics,
}


def _dicom_with(old: bytes, new: bytes) -> Callable[[Path], Any]:
    def write(place: Path) -> Any:
        content = write_image(place / "seed", np.zeros((8, 8), np.uint16)).read_bytes()
        assert old in content
        return content.replace(old, new), "auto", None

    return write


def _one_class(place: Path) -> Any:
    val = pd.DataFrame({"sample_id": ["a", "b"], "group_id": ["a", "b"], "target": [0, 0]})
    test = val.assign(target=[0, 1])
    shares = {"prob/0": [0.4, 0.5], "prob/1": [0.6, 0.5]}
    return "binary", 2, "argmax", [val.assign(**shares), test.assign(**shares)]


_HEAD = "sample_id,group_id,target,prob/healthy,prob/nodule,prob/cyst,prob/spiculated"
#: What was found, and is mended: the shortest input of each kind.
FOUND: list[tuple[str, Callable[[Path], Any]]] = [
    ("overrides", lambda _: ("gain", ["+seed=null"])),
    ("overrides", lambda _: ("gain", ["+seed="])),
    ("overrides", lambda _: ("embed", ["\U00081b71 Ç==6", "++data.fold=-1"])),
    ("overrides", lambda _: ("embed", ["data.source=0.0"])),
    ("overrides", lambda _: ("gain", [f"~data/augment{'9' * 400}"])),
    ("metrics", _one_class),
    ("predictions", lambda _: f"{_HEAD}\na,p,1,0.2,0.3,0.5,{'9' * 400}\n".encode()),
    ("predictions", lambda _: f"{_HEAD}\n0,0,a,p,1,0.2,0.3,0.5,0\n".encode()),
    ("dicom", _dicom_with(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.5.1.4\0")),
    ("dicom", _dicom_with(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00US")),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(FOUND)))
def test_what_was_found_is_refused(number, tmp_path) -> None:
    name, write = FOUND[number]
    value = write(tmp_path)
    _, check, documented = TARGETS[name](tmp_path)
    with contextlib.suppress(*documented):
        check(value)


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_exceptions(name, tmp_path) -> None:
    torch.set_num_threads(1)
    inputs, check, documented = TARGETS[name](tmp_path)
    result = explore(inputs, check, documented, time.monotonic() + SECONDS)
    print(f"\n{name}: {result.tried} inputs, {len(result.findings)} kinds of findings")
    assert result.tried > 3
    assert not result.findings, "\n".join(f"{kind}: {value!r}"[:1500] for kind, value in result.findings.items())
