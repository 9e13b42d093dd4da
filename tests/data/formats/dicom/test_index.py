"""Folders of files become series, ordered by space and time, or are refused with the reason."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_maker import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    uid,
    write_cine,
    write_enhanced,
    write_image,
    write_series,
)
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.formats.dicom.headers import Frame
from vesalius.data.formats.dicom.index import index_folder
from vesalius.data.formats.dicom.ordering import BadSeries, Grid, arrange

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def _numbered(phases: int, slices: int) -> np.ndarray:
    """Images that each hold their own number, counted phase by phase: (T, Z, 4, 4)."""
    numbers = np.arange(phases * slices, dtype=np.uint16).reshape(phases, slices)
    return np.broadcast_to(numbers[..., None, None], (phases, slices, 4, 4)).copy()


def _only(root: Path):
    (series,) = index_folder(root, progress=False).series
    return series


def _numbers(root: Path, grid: Grid) -> list[list[int]]:
    """The number that each image of a grid holds."""
    return [
        [int(decode_file(root / frame.path, window="none", frames=[frame.number or 0])[0, 0, 0, 0]) for frame in phase]
        for phase in grid.frames
    ]


@pytest.mark.parametrize("clock", ["temporal", "acquisition", "content", "trigger", "instance"])
@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)])
def test_a_dynamic_series_of_shuffled_names_is_in_order(tmp_path, clock, orientation):
    write_series(tmp_path, _numbered(3, 4), clock=clock, orientation=orientation, seconds=[0, 7.5, 31])
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    expected = None if clock == "instance" else ((0.0,) * 4, (7.5,) * 4, (31.0,) * 4)
    assert grid.times == expected


def test_a_volume_is_in_the_order_of_its_positions(tmp_path):
    write_series(tmp_path, _numbered(1, 9)[0], spacing=1.25)
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [list(range(9))]
    assert not grid.has_time
    assert grid.times is None


def test_an_identifier_that_tells_nothing_gives_way_to_the_next_clock(tmp_path):
    write_series(tmp_path, _numbered(3, 2), clock="trigger", TemporalPositionIdentifier=1, AcquisitionTime="100000")
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [[0, 1], [2, 3], [4, 5]]
    assert grid.times is not None
    assert [phase[0] for phase in grid.times] == [0, 10, 20]


def test_slices_taken_one_after_the_other_have_times_since_their_own_first(tmp_path):
    def taken(phase: int, place: int) -> str:
        return f"1000{10 * phase + 2 * place:02d}.5"

    write_series(tmp_path, _numbered(3, 2), clock="acquisition", AcquisitionTime=taken)
    grid = _only(tmp_path).arrange()
    assert grid.times == ((0.0, 0.0), (10.0, 10.0), (20.0, 20.0))


def test_midnight_is_passed_where_there_are_dates(tmp_path):
    def taken(phase: int, _: int) -> str:
        return ["20200101235950", "20200102000010", "20200102000030"][phase]

    write_series(tmp_path, _numbered(3, 1), clock="instance", AcquisitionDateTime=taken)
    grid = _only(tmp_path).arrange()
    assert grid.times == ((0.0,), (20.0,), (40.0,))


def test_two_patients_with_the_same_description_are_two_series(tmp_path):
    for patient in ("A", "B"):
        write_series(tmp_path / "same folder", _numbered(1, 3)[0], patient=patient, description="T1", seed=ord(patient))
        for path in list((tmp_path / "same folder").glob("IM*")):
            path.rename(path.with_name(f"{patient}{path.name}"))
    series = index_folder(tmp_path, progress=False).series
    assert sorted(one.patient for one in series) == ["A", "B"]
    assert [_numbers(tmp_path, one.arrange()) for one in series] == [[[0, 1, 2]]] * 2


def test_an_enhanced_file_is_in_order(tmp_path):
    write_enhanced(tmp_path / "enhanced", _numbered(3, 4), seconds=[0, 5, 12.5])
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert grid.times is not None
    assert [phase[0] for phase in grid.times] == [0, 5, 12.5]


def test_an_enhanced_file_for_each_phase_makes_one_series(tmp_path):
    pixels = _numbered(3, 4)
    for phase in range(3):
        options = {"series": uid("one"), "instance": uid(phase), "number": 3 - phase}
        write_enhanced(tmp_path / f"{phase}", pixels[phase : phase + 1], seconds=[8.0 * phase], **options)
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("tags", "seconds"),
    [
        ({"frame_time": 40.0}, [0, 0.04, 0.08, 0.12]),
        ({"frame_time": None, "FrameTimeVector": [0, 10, 20, 40]}, [0, 0.01, 0.03, 0.07]),
        ({"frame_time": None, "CineRate": 25}, [0, 0.04, 0.08, 0.12]),
        ({"frame_time": None}, None),
    ],
)
def test_a_film_is_a_time_series(tmp_path, tags, seconds):
    write_cine(tmp_path / "film", _numbered(4, 1)[:, 0], **tags)
    grid = _only(tmp_path).arrange()
    assert _numbers(tmp_path, grid) == [[0], [1], [2], [3]]
    assert (None if grid.times is None else [phase[0] for phase in grid.times]) == seconds


def test_two_films_of_a_series_stay_apart(tmp_path):
    for number in range(2):
        write_cine(tmp_path / f"{number}", _numbered(4, 1)[:, 0], number=number + 1)
    assert [one.arrange().has_time for one in index_folder(tmp_path, progress=False).series] == [True, True]


def test_echoes_are_not_phases(tmp_path):
    write_series(tmp_path, _numbered(2, 3), clock="instance", EchoTime=lambda phase, _: 5.0 + 10 * phase)
    series = index_folder(tmp_path, progress=False).series
    assert [_numbers(tmp_path, one.arrange()) for one in series] in (
        [[[0, 1, 2]], [[3, 4, 5]]],
        [[[3, 4, 5]], [[0, 1, 2]]],
    )


def _mixed_orientation(root: Path) -> None:
    write_series(root / "a", _numbered(1, 3)[0], series=uid("one"))
    write_series(root / "b", _numbered(1, 3)[0], series=uid("one"), orientation=SAGITTAL, instance=_instances("b"))


def _instances(word: str):
    return lambda phase, place: uid(word, phase, place)


def _twice(root: Path) -> None:
    write_series(root / "a", _numbered(1, 3)[0])
    shutil.copytree(root / "a", root / "copy")


def _side_by_side(root: Path) -> None:
    for station in range(2):
        place = {
            "position": lambda _, place, x=station: (300.0 * x, 0.0, 2.0 * place),
            "instance": _instances(str(station)),
        }
        write_series(root / str(station), _numbered(1, 3)[0], series=uid("one"), **place)


def _two_sizes(root: Path) -> None:
    write_series(root / "a", _numbered(1, 3)[0], series=uid("one"))
    far = {"position": (0.0, 0.0, 6.0), "orientation": AXIAL, "instance": uid("other")}
    write_image(root / "b", np.zeros((8, 4), dtype=np.uint16), series=uid("one"), **far)


def _nothing_tells(root: Path) -> None:
    write_series(root, _numbered(3, 2), clock="instance", number=1, instance=_instances(""))


BAD = {
    "mixed orientation": (_mixed_orientation, "2 orientations"),
    "a file twice": (_twice, "occur twice"),
    "a missing slice": (lambda root: write_series(root, _numbered(1, 7)[0], leave_out=[3]), "about 1 slice"),
    "two of three": (lambda root: write_series(root, _numbered(1, 4)[0], leave_out=[2]), "about 1 slice"),
    "a missing one of three": (
        lambda root: write_series(root, _numbered(1, 3)[0], leave_out=[1], SpacingBetweenSlices=2.0),
        "about 1 slice",
    ),
    "uneven gaps": (
        lambda root: write_series(root, _numbered(1, 4)[0], position=lambda _, z: (0, 0, (0.0, 2.0, 4.8, 6.8)[z])),
        "uneven",
    ),
    "unequal phases": (lambda root: write_series(root, _numbered(3, 4), leave_out=[5]), "phases are unequal"),
    "a missing phase": (
        lambda root: write_series(root, _numbered(3, 2), leave_out=[2, 3], NumberOfTemporalPositions=3),
        "2 of 3 phases",
    ),
    "stations": (_side_by_side, "side by side"),
    "two sizes": (_two_sizes, "2 sizes"),
    "two frames of reference": (
        lambda root: write_series(root, _numbered(1, 4)[0], FrameOfReferenceUID=lambda _, z: uid(z // 2)),
        "2 frames of reference",
    ),
    "no order": (_nothing_tells, "and no order"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_ordered_is_refused_with_the_reason(tmp_path, kind):
    make, reason = BAD[kind]
    make(tmp_path)
    with pytest.raises(BadSeries, match=reason):
        _only(tmp_path).arrange()


def test_the_reason_says_nothing_of_the_patient(tmp_path):
    for kind, (make, _) in BAD.items():
        make(tmp_path / kind)
        with pytest.raises(BadSeries) as refused:
            _only(tmp_path / kind).arrange()
        assert not any(word in str(refused.value) for word in ("PAT001", "Doe", "T1 axial", "1960", "1.2.8", "IM0"))


def test_small_differences_of_position_and_orientation_are_tolerated(tmp_path):
    noise = np.random.default_rng(0)
    turned = tuple(np.array(AXIAL) + 0.001)
    write_series(
        tmp_path,
        _numbered(3, 5),
        position=lambda _, place: (0.1 * noise.random(), 0.0, 2.0 * place + 0.004 * noise.random()),
        orientation=AXIAL,
        ImageOrientationPatient=lambda phase, _: list(turned if phase == 1 else AXIAL),
    )
    assert _numbers(tmp_path, _only(tmp_path).arrange()) == [[5 * t + z for z in range(5)] for t in range(3)]


@settings(max_examples=60, deadline=None)
@given(
    phases=st.integers(1, 5),
    slices=st.integers(1, 6),
    spacing=st.floats(0.1, 20),
    angles=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    clock=st.sampled_from(["temporal", "acquired", "content", "trigger", "order"]),
    chance=st.randoms(use_true_random=False),
)
def test_any_grid_comes_back_from_any_order(phases, slices, spacing, angles, clock, chance):
    a, b = angles
    row = np.array([np.cos(a), np.sin(a), 0.0])
    column = np.cross(np.array([np.sin(a) * np.sin(b), -np.cos(a) * np.sin(b), np.cos(b)]), row)
    normal = np.cross(row, column)
    wanted = [
        [
            Frame(
                **{
                    **dict.fromkeys(("echo", "temporal", "acquired", "content", "trigger", "elapsed", "window")),
                    "path": f"{phase} {place}",
                    "number": None,
                    "instance": f"{phase} {place}",
                    "shape": (4, 4, 1, 2),
                    "position": tuple(100 + spacing * place * normal),
                    "orientation": (*row, *column),
                    "frame_of_reference": "",
                    "order": (0,),
                    clock: (phase,) if clock == "order" else phase,
                }
            )
            for place in range(slices)
        ]
        for phase in range(phases)
    ]
    frames = [frame for phase in wanted for frame in phase]
    chance.shuffle(frames)
    assert [list(phase) for phase in arrange(frames).frames] == wanted


def test_other_files_and_objects_are_passed_over(tmp_path):
    write_series(tmp_path / "deep" / "er", _numbered(1, 2)[0])
    (tmp_path / "notes.txt").write_text("Doe, Jane")
    (tmp_path / ".hidden").write_bytes((TEST_FILES / "CT_small.dcm").read_bytes())
    for name in ("rtplan.dcm", "test-SR.dcm", "liver_1frame.dcm", "rtdose.dcm"):
        shutil.copy(TEST_FILES / name, tmp_path)
    shutil.copy(TEST_FILES / "dicomdirtests" / "DICOMDIR", tmp_path)
    shutil.copy(TEST_FILES / "dicomdirtests" / "DICOMDIR", tmp_path / "renamed")
    index = index_folder(tmp_path, progress=False)
    assert [len(one.frames) for one in index.series] == [2]
    assert index.not_dicom == 2
    assert sum(index.others.values()) == 4
    assert index.damaged == []


def test_series_may_be_picked_by_modality_and_description(tmp_path):
    write_series(tmp_path / "a", _numbered(1, 2)[0], description="T1 post")
    write_series(tmp_path / "b", _numbered(1, 3)[0], description="T2")
    write_series(tmp_path / "c", _numbered(1, 4)[0], description="Scout", modality="CT")
    sizes = {"modality": [2, 3], "description": [2]}
    assert [len(one.frames) for one in index_folder(tmp_path, modality=["mr"]).series] == sizes["modality"]
    assert [len(one.frames) for one in index_folder(tmp_path, description="^t1").series] == sizes["description"]
    for options, word in (({"modality": ["PT"]}, "modality"), ({"description": "("}, "regular expression")):
        with pytest.raises(InputError, match=word):
            index_folder(tmp_path, **options)


def test_the_real_series_that_pydicom_ships_are_found():
    index = index_folder(TEST_FILES / "dicomdirtests", progress=False)
    assert len(index.series) == len({(one.patient, one.study, one.uid) for one in index.series})
    sizes = sorted(len(one.frames) for one in index.series)
    assert sum(sizes) == 31  # of the 81 files, 50 of TINY_ALPHA have no pixels
    projections = next(one for one in index.series if one.frames[0].path.startswith("98892003/MR700"))
    with pytest.raises(BadSeries, match="7 orientations"):  # seen from seven sides
        projections.arrange()


def test_a_damaged_file_is_told_apart(tmp_path):
    path = write_image(tmp_path / "a", np.zeros((4, 4), dtype=np.uint16), Rows=None)
    write_image(tmp_path / "b", np.zeros((4, 4), dtype=np.uint16), number=2)
    content = path.read_bytes()
    path.write_bytes(content[:300])
    (tmp_path / "c").write_bytes((tmp_path / "b").read_bytes().replace(b"US\x02\x00\x04\x00", b"US\x02\x00\x00\x00"))
    index = index_folder(tmp_path, progress=False)
    assert len(index.series) == 1
    assert [name for name, _ in index.damaged] == ["a", "c"]


def test_an_absent_or_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        index_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="no DICOM image"):
        index_folder(tmp_path)
