"""A damaged file of one run: the others are reported, and a note names run and file."""

import json

import pytest
import yaml

from report_maker import finish, write_sweep
from run_maker import predictions, write_run
from vesalius.commands.report import write_report
from vesalius.metrics.formatting import describe_extractor, summarize_synthetic_images
from vesalius.report.content import content_of, parts_of
from vesalius.runs.find import find_runs
from vesalius.runs.reading import read_results, read_sweep
from vesalius.terminal import command_console

BINARY, LIST, NULL, TEXT, CUT = b"\xff\xfe\x00\x81" * 9, b"[]", b"null", b"oops", b'{"a": [1'


def edit(**changes):
    """Changes of a JSON or YAML file, `__` for the dots of a key."""

    def edited(content: bytes) -> bytes:
        content = yaml.safe_load(content)
        for key, value in changes.items():
            node = content
            *parents, leaf = key.split("__")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = value
        return json.dumps(content).encode()

    return edited


DAMAGE = [
    *(("state.json", how) for how in (BINARY, LIST, NULL, TEXT, CUT, edit(state=3), edit(seconds="long"))),
    *(("metrics.json", how) for how in (BINARY, LIST, NULL, TEXT, CUT, edit(test={"auroc": 0.5}), edit(test=None))),
    ("metrics.json", edit(baselines={"majority": [1]})),
    ("metrics.json", edit(monitor={"best": "high"})),
    ("metrics.json", edit(decision=[0.5])),
    ("metrics.json", edit(calibration=[1])),
    ("metrics.json", edit(calibration={"method": "temperature", "temperature": 2.0, "test": {}})),
    ("metrics.json", edit(operating_point={"threshold": "high"})),
    ("metrics.json", edit(conformal={"coverage": "most"})),
    ("metrics.json", edit(abstention={"kept": [1.0], "accuracy": {"value": [0.5], "low": [], "high": [1.0]}})),
    ("metrics.json", edit(decision_curve={"sick": {"thresholds": [0.1, "x"]}})),
    ("metrics.json", edit(prior_shift={"test": 3})),
    ("history.csv", BINARY),
    *(("overrides.yaml", how) for how in (BINARY, CUT, TEXT)),
    *(("config.yaml", how) for how in (BINARY, LIST, NULL, CUT, edit(monitor=None), edit(model=None), edit(data=[1]))),
    ("config.yaml", edit(seed=[1])),
    *(("provenance.json", how) for how in (BINARY, LIST, CUT, b'{"packages": 3}', b'{"hardware": {"gpus": 3}}')),
    *(("predictions/test.csv", how) for how in (BINARY, b"", b"a,b\n1,2\n", lambda whole: whole[: len(whole) // 2])),
    ("predictions/test.csv", lambda whole: whole.replace(b"0.", b"x.")),
]


@pytest.mark.parametrize(("file", "how"), DAMAGE)
def test_the_other_runs_are_reported_and_a_note_names_the_file(tmp_path, file, how):
    path = write_sweep(tmp_path / "sweep", seeds=1, models={"cnn": 0.8, "vgg": 1.5})
    damaged = path / "1" / file
    damaged.write_bytes(how if isinstance(how, bytes) else how(damaged.read_bytes()))
    write_report(path, images=True, console=command_console())
    collected = find_runs(path)
    content = content_of(collected, parts_of(collected))
    rows = {row["run"]: row for part in content["parts"] for row in part["rows"]}
    assert rows["0"]["test"]
    notes = [note for part in content["parts"] for note in part["notes"]] + content["notes"]
    text = (path / "report.html").read_text() + " ".join(notes)
    assert str(tmp_path) not in text
    if not file.startswith("predictions"):
        assert any(note.startswith("1") and file in note for note in notes)
    elif how in (BINARY, b"", DAMAGE[-3][1]):
        assert any("predictions/test.csv of 1" in note for note in notes)


@pytest.mark.parametrize("how", [BINARY, LIST, NULL, CUT, edit(jobs=3), edit(study=[1]), edit(jobs=[{"number": "x"}])])
def test_a_damaged_sweep_file_leaves_the_runs(tmp_path, how):
    path = write_sweep(tmp_path / "sweep", seeds=2)
    content = path / "sweep.json"
    content.write_bytes(how if isinstance(how, bytes) else how(content.read_bytes()))
    write_report(path, images=False, console=command_console())
    collected = find_runs(path)
    assert len(collected.runs) == 6
    assert any("sweep.json" in note for note in collected.notes)


ENTRY = {"value": 0.6, "ci95": [0.5, 0.7], "n": 9, "synthetic": 9, "groups": 4, "method": "x", "no_skill": 0.5}
PART = {"value": 0.6, "p_value": 0.2, "n": 9, "no_skill": 0.5}
COPIES = {**PART, "flagged": False, "synthetic": 9, "train": 9, "groups": 4, "training_nearest": PART, "closest": PART}
FEATURES = {"name": "inception", "layer": "pool3", "dim": 2048, "hash": "abc"}
GENERATOR = {
    "task": "synthesis",
    "test": {"kid": ENTRY},
    "two_sample": ENTRY,
    "memorisation": COPIES,
    "baselines": None,
}


@pytest.mark.parametrize(
    "how",
    [
        *(edit(test__kid__ci95=ends) for ends in (0.5, "wide", [0.5], ["low", "high"], {"low": 0.5})),
        *(
            edit(two_sample=content)
            for content in ([1], {"value": 0.6}, {**ENTRY, "synthetic": None}, {**ENTRY, "ci95": 1})
        ),
        *(
            edit(memorisation=content)
            for content in ("no", ENTRY, {**COPIES, "p_value": "low"}, {**COPIES, "train": None})
        ),
        *(edit(memorisation__closest=entry) for entry in (3, {"value": "all"}, {**PART, "ci95": 0.5})),
        edit(extractor={"name": "inception"}),
    ],
)
def test_what_the_page_could_not_tell_is_damage(tmp_path, how):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({**GENERATOR, "extractor": FEATURES}))
    content = read_results(path)
    assert (len([describe_extractor(content), *summarize_synthetic_images(content)]), content["baselines"]) == (3, {})
    path.write_bytes(how(path.read_bytes()))
    with pytest.raises(ValueError, match=r"kid|two_sample|memorisation|extractor"):
        read_results(path)


def test_a_sweep_without_jobs_is_one_and_an_objective_without_a_name_is_damage(tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text('{"jobs": null}')
    assert read_sweep(path)["jobs"] == []
    path.write_text(json.dumps({"jobs": [], "study": {"objectives": [{"mode": "max"}]}}))
    with pytest.raises(ValueError, match="an objective has no name"):
        read_sweep(path)


def test_an_origin_of_any_shape_is_shown(tmp_path):
    run = finish(write_run(tmp_path / "run", predictions(1.0, 0)), [], 0.8)
    origin = {"python": [3, 11], "command": None, "hardware": {"system": "Linux", "gpus": [3]}}
    (run / "provenance.json").write_text(json.dumps(origin))
    write_report(run, images=False, console=command_console())
    page = (run / "report.html").read_text()
    assert "[3, 11]" in page
    assert "Linux None, None cores, 3" in page


def test_numbers_that_are_none_are_left_out(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=2)
    nan = float("nan")
    for file, change in (
        ("1/metrics.json", edit(test__auroc__value=nan, baselines__logistic_pca__auroc__ci95=[nan, 1.0])),
        ("sweep.json", edit(study={"best": 1, "importance": {"lr": nan, "width": 0.5}})),
    ):
        (path / file).write_bytes(change((path / file).read_bytes()))
    write_report(path, images=False, console=command_console())
    collected = find_runs(path)
    assert collected.runs[1].results["test"]["auroc"]["value"] is None
    assert collected.sweep["study"]["importance"] == {"width": 0.5}
    assert (collected.runs[1].results["baselines"]["logistic_pca"]["auroc"]["ci95"], collected.notes) == (None, [])
