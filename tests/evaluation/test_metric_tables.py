"""The printed table is complete, plain where there is no terminal, and within 100 columns."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from vesalius.evaluation.metric_tables import print_metrics
from vesalius.metrics.formatting import format_metric, format_number


def entry(value: float | None, **more: Any) -> dict[str, Any]:
    interval = None if value is None else [value - 0.05, value + 0.05]
    return {"value": value, "ci95": interval, "n": 156, "groups": 120, "method": "", "no_skill": 0.5, **more}


def numbers(value: float) -> dict[str, Any]:
    overall = {name: entry(value) for name in ("auroc", "accuracy", "balanced_accuracy", "f1", "ece")}
    return overall | {f"{kind}/{c}": entry(value) for kind in ("recall", "precision") for c in ("cyst", "spiculated")}


def printed(metrics: dict[str, Any], split: str = "test", **options: Any) -> str:
    console = Console(file=io.StringIO(), width=100, **options)
    print_metrics(metrics, console, split)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


METRICS = {
    "test": numbers(0.91),
    "val": numbers(0.93),
    "baselines": {name: numbers(0.7) for name in ("majority", "logistic_pixels", "logistic_pca")},
}


def test_every_number_has_its_interval_and_its_no_skill_value() -> None:
    lines = printed(METRICS).splitlines()
    for name in METRICS["test"]:
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert re.findall(r"\.910 \[\.860,\.960\]", line)
        assert line.count(".700 [.650,.750]") == 3
        assert " .500 " in line


def test_it_is_plain_and_fits() -> None:
    text = printed(METRICS)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "156 samples of 120 patients" in text
    assert "\x1b" in printed(METRICS, force_terminal=True, color_system="standard", no_color=False)


def test_a_missing_number_has_a_reason() -> None:
    metrics = {"test": {"auroc": entry(None, reason="no sample of class cyst"), "accuracy": entry(0.9)}}
    text = printed(metrics)
    assert re.search(r"auroc +– +\.500", text)
    assert "auroc: no sample of class cyst." in text


GENERATED = {
    "test": {name: entry(0.7, synthetic=156) for name in ("frechet_distance", "kid", "density")},
    "extractor": {"name": "cnn/9", "layer": "features", "hash": "ab12", "dim": 64},
    "two_sample": entry(0.8, synthetic=78),
    "memorisation": {"value": 0.74, "ci95": [0.7, 0.78], "p_value": 0.0004, "flagged": True, "no_skill": 0.5}
    | {"training_nearest": {"value": 0.9, "ci95": [0.85, 0.95], "p_value": 0.002, "no_skill": 0.82}}
    | {"closest": {"value": 0.95, "ci95": [0.8, 1.0], "p_value": 0.02, "no_skill": 0.82}}
    | {"n": 156, "synthetic": 156, "train": 700, "groups": 120, "method": ""},
}


def test_synthetic_images_are_shown_with_their_extractor_and_whether_they_are_copies() -> None:
    text = " ".join(printed(GENERATED).split())
    assert "Images are compared by 64 features: cnn/9, features (weights ab12)." in text
    assert "frechet_distance and kid: lower is better" in text
    assert "auroc .800 [.750,.850] (no skill .500); 78 synthetic and 156 real images of 120 patients" in text
    assert ".740 [.700,.780] (without copying .500), p < .001; share nearest to a training image" in text
    assert (
        "and not to a held-out one .900 [.850,.950] (without copying .820), p = .0020; among the closest tenth .950"
        in text
    )
    assert "flagged: nearer to training images than by chance; 156 synthetic" in text
    assert "real images of 120 patients, 700 training images" in text
    harmless = {**GENERATED, "memorisation": {**GENERATED["memorisation"], "flagged": False, "p_value": 0.25}}
    assert "; not flagged;" in " ".join(printed(harmless).split())


def test_an_autoencoder_is_its_own_extractor_and_needs_no_line() -> None:
    assert "Images are compared" not in printed({"test": {"mse": entry(0.1)}, "extractor": "ab12"})


def test_what_could_not_be_tested_of_synthetic_images_has_a_reason() -> None:
    unknown = {"value": None, "p_value": None, "ci95": None, "reason": "one patient"}
    text = printed({**GENERATED, **{key: {**GENERATED[key], **unknown} for key in ("two_sample", "memorisation")}})
    assert text.count("– (one patient); ") == 2
    assert "flagged" not in text
    assert "synthetic or real" not in printed({**GENERATED, "val": GENERATED["test"]}, "val")


def test_names_with_brackets_are_not_markup() -> None:
    assert "recall/[bold]x" in printed({"test": {"recall/[bold]x": entry(0.9), "accuracy": entry(0.9)}})


def test_baselines_are_shown_for_the_test_split_only() -> None:
    text = printed(METRICS, "val")
    assert ".930" in text
    assert "majority" not in text
    assert "No val metrics" in printed({"test": numbers(0.9)}, "val")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9124, ".912"), (1.0, "1.00"), (0.9996, "1.00"), (0.0, ".000"), (-0.25, "-.250"), (31.26, "31.3"), (None, "–")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_a_value_without_interval_is_not_shown() -> None:
    assert format_metric({"value": 0.9, "ci95": None}) == "–"


def test_many_baselines_and_ablations_are_rows() -> None:
    arms = {name: numbers(0.7) for name in ("majority", "a", "b", "c")}
    evidence = {"model": {"auroc": entry(0.9)}, "time_shuffled": {"auroc": entry(0.6), "auroc_difference": entry(0.3)}}
    text = printed({**METRICS, "baselines": arms, "evidence": evidence})
    lines = text.splitlines()
    for arm in arms:
        (line,) = [line for line in lines if line.startswith(f"{arm} ")]
        assert line.count(".700 [.650,.750]") == 2
    (line,) = [line for line in lines if line.startswith("time_shuffled ")]
    assert ".600 [.550,.650]" in line
    assert ".300 [.250,.350]" in line
    assert max(map(len, lines)) <= 100


def test_ablations_of_some_classes_name_them() -> None:
    evidence = {"without_duplicates": {"auroc": entry(0.8)}, "model": {"auroc": entry(0.9)}}
    evidence["single_frame"] = {"auroc": entry(0.6, note="judged on the frame at 25 % of each series")}
    lines = printed({**METRICS, "evidence": evidence, "evidence_classes": ["plateau", "[bold]washout"]}).splitlines()
    (title,) = [number for number, line in enumerate(lines) if "only samples of plateau, [bold]washout" in line]
    rows = {name: number for number, line in enumerate(lines) for name in evidence if line.startswith(f"{name} ")}
    assert rows["without_duplicates"] < title < rows["model"] < rows["single_frame"]  # the first counts all classes
    assert "single_frame: judged on the frame at 25 % of each series." in lines
    for classes in (None, []):
        assert "only samples of" not in printed({**METRICS, "evidence": evidence, "evidence_classes": classes})


def test_differences_of_errors_are_shown_next_to_the_errors() -> None:
    evidence = {"time_shuffled": {"mae": entry(0.6), "mae_difference": entry(-0.3)}}
    assert "-.300 [-.350,-.250]" in printed({"test": {"mae": entry(0.2)}, "evidence": evidence})


def test_subgroups_have_a_table_each_and_what_is_suppressed_is_named() -> None:
    few = entry(None, reason="suppressed: 2 patients of class cyst, fewer than 5", groups=2)
    values = {"north": numbers(0.9), "west": dict.fromkeys(("auroc", "balanced_accuracy", "ece"), few)}
    text = printed({**METRICS, "subgroups": {"site": values}})
    lines = text.splitlines()
    (north,) = (line for line in lines if line.startswith("north (120 patients)"))
    assert north.count(".900 [.850,.950]") == 3
    assert north.count(".500") == 3
    (west,) = (line for line in lines if line.startswith("west (2 patients)"))
    assert west.count("–") == 3
    assert "west: all numbers suppressed: 2 patients of class cyst, fewer than 5." in text
    assert max(map(len, lines)) <= 100
