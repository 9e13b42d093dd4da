"""Options with a fixed list of values are checked by their annotations, before a source is built."""

import pytest

from vesalius.config.targets import target_problems

FILES = {"root": "folder", "labels": "labels.csv", "target": "y"}
TABLE = {"manifest": "m.csv", "path": "file", "target": "y", "group": "none"}
UNIT, CHANNELS, UNMATCHED = ("unit", "frame"), ("channels", 2), ("unmatched", "maybe")
WRONG = {
    "ImageFolder": ({"root": "folder"}, [CHANNELS]),
    "FrameFolder": (FILES, [UNIT, CHANNELS, UNMATCHED, ("task", "ranking"), ("unit", "volume")]),
    "Video": (FILES, [UNIT, CHANNELS, UNMATCHED, ("task", "ranking"), ("unit", "volume")]),
    "Nifti": (
        FILES,
        [
            *(
                UNIT,
                CHANNELS,
                UNMATCHED,
                ("plane", "oblique"),
                ("slices", "top"),
                ("slices", [1.5]),
                ("window", "lung"),
            ),
            *(("nan", "skip"), ("detrend", "cubic"), ("standardize", True), ("task", "ranking"), ("subgroups", "site")),
        ],
    ),
    "Dicom": (FILES, [UNIT, CHANNELS, UNMATCHED, ("slices", "top"), ("window", "lung"), ("on_bad_series", "maybe")]),
    "Table": (TABLE, [UNIT, UNMATCHED, ("plane", "oblique"), ("window", "lung"), ("task", "ranking")]),
    "MedMNIST": ({"name": "organmnist3d"}, [("unit", "time_series"), ("axis", 3)]),
    "Perfusion": ({}, [("target", "type")]),
}


@pytest.mark.parametrize("source", WRONG)
def test_values_that_are_not_on_the_list_are_refused_by_name(source):
    needed, wrong = WRONG[source]
    target = {"_target_": f"vesalius.data.sources.{source}"}
    assert list(target_problems({**target, **needed}, "data.source")) == []
    for option, value in wrong:
        (problem,) = target_problems({**target, **needed, option: value}, "data.source")
        assert problem.startswith(f"data.source.{option}={value!r}: expected ")


def test_options_that_sources_of_labelled_files_share_are_known_by_name():
    target = {"_target_": "vesalius.data.sources.Video", "root": "folder", "pseudonym": False}
    (problem,) = target_problems(target, "data.source")
    assert "Did you mean 'pseudonyms'?" in problem
