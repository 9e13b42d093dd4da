"""Clips in files as series with times."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.formats.images import adapt_channels
from vesalius.data.identities import Identities
from vesalius.data.samples import check_samples
from vesalius.data.sources.video import Video
from vesalius.data.store.store import Store

pytest.importorskip("av")
from video_maker import noise, write_clip


@pytest.fixture
def clips(tmp_path):
    """Two clips per class in class folders, the longest of 12 frames."""
    for label in ("apical", "parasternal"):
        for number in range(2):
            write_clip(tmp_path / "clips" / label / f"pat{number}_view.avi", noise(10 + 2 * number))
    (tmp_path / "clips" / "apical" / "notes.txt").write_text("not a clip")
    return tmp_path / "clips"


def source_of(root, **options):
    return Video(str(root), **({"pseudonyms": False, "group_pattern": r"(pat\d)"} | options))


def problems_of(make):
    with pytest.raises(InputError) as caught:
        make().samples()
    return caught.value.problems


def test_clips_in_class_folders_are_series_with_times(clips, tmp_path):
    source = source_of(clips)
    samples = source.samples()
    assert (source.series, source.task, source.classes) == (True, "binary", ("apical", "parasternal"))
    assert samples["sample_id"].tolist() == [
        f"{label}/pat{number}_view.avi" for label in source.classes for number in range(2)
    ]
    assert samples["group_id"].tolist() == ["pat0", "pat1"] * 2
    assert samples["split"].isna().all()
    check_samples(samples, source.task, source.classes, before_split=True)
    for row in samples.to_dict("records"):
        expected = np.stack(noise(len(row["_times"]))).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(source.load(row), expected)
        np.testing.assert_allclose(row["_times"], np.arange(len(expected)) / 10, atol=1e-9)
        assert source.files(row) == [clips / row["sample_id"]]
    store = Store.open(source, samples, image_size=16, cache_dir=tmp_path / "cache", progress=False)
    assert (store.series, store.shape, store.lengths.tolist()) == (True, (3, 16, 16), [10, 12] * 2)


def test_fewer_frames_on_request(clips):
    whole = source_of(clips)
    for options, kept in (
        ({"fps": 5}, [0, 2, 4, 6, 8]),
        ({"every": 4}, [0, 4, 8]),
        ({"max_frames": 2}, [0, 9]),
        ({"fps": 5, "every": 2, "max_frames": 2}, [0, 8]),
    ):
        source = source_of(clips, **options)
        row, other = source.samples().to_dict("records")[0], whole.samples().to_dict("records")[0]
        np.testing.assert_array_equal(source.load(row), whole.load(other)[kept])
        assert row["_times"] == [other["_times"][number] for number in kept]
        assert source.fingerprint() != whole.fingerprint()


def test_every_frame_can_be_an_image(clips):
    series, images = source_of(clips, channels=1), source_of(clips, unit="slice", channels=1)
    rows = images.samples()
    assert not images.series
    assert len(rows) == 44
    assert "_times" not in rows
    assert rows["sample_id"][11] == "apical/pat1_view.avi_t001"
    check_samples(rows, images.task, images.classes, before_split=True)
    for row in series.samples().to_dict("records"):
        frames = rows[rows["_path"] == row["_path"]].to_dict("records")
        np.testing.assert_array_equal(series.load(row), np.stack([images.load(frame) for frame in frames]))
    first = adapt_channels(noise(1)[0].transpose(2, 0, 1), 1)
    np.testing.assert_array_equal(images.load(rows.iloc[0]), first)


def test_a_table_of_targets_and_fixed_splits(clips):
    lines = ["clip;fraction;patient;set"]
    for number, path in enumerate(["apical/pat0", "apical/pat1", "parasternal/pat0", "parasternal/pat1"]):
        lines.append(f"{path}_view.avi;{50 + number}.5;{number % 2};{'test' if number % 2 else 'training'}")
    (clips / "labels.csv").write_text("\n".join(lines))
    options = {"labels": "labels.csv", "key": "clip", "target": "fraction", "task": "regression"}
    source = source_of(clips, **options, group="patient", group_pattern=None, split="set")
    samples = source.samples()
    assert (source.task, source.classes) == ("regression", ("fraction",))
    assert samples["target/fraction"].tolist() == [50.5, 51.5, 52.5, 53.5]
    assert samples["split"].tolist() == ["train", "test"] * 2
    assert samples["group_id"].tolist() == ["0", "1"] * 2


def test_split_folders_fix_the_split(tmp_path):
    for split in ("train", "valid", "test"):
        for label in "ab":
            write_clip(tmp_path / split / label / "1.mkv", noise(2, channels=1))
    samples = source_of(tmp_path, group_pattern=None).samples()
    assert samples["split"].tolist() == ["test", "test", "train", "train", "val", "val"]
    assert samples["group_id"].tolist() == samples["sample_id"].tolist()


def test_nothing_of_a_path_or_patient_is_told(clips):
    source = source_of(clips, pseudonyms=True)
    samples = source.samples()
    written = samples.drop(columns=[name for name in samples if name.startswith("_")]).to_csv()
    assert "pat" not in written
    assert Identities.open().reveal(samples["sample_id"][0]) == ("file", "apical/pat0_view.avi")
    assert Identities.open().reveal(samples["group_id"][0]) == ("patient", "pat0")
    (clips / "apical" / "pat0_view.avi").write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        source.load(samples.to_dict("records")[0])
    assert samples["sample_id"][0] in str(caught.value)
    assert "pat0" not in str(caught.value)


def test_a_damaged_clip_has_a_row_and_is_left_out_on_request(clips, tmp_path):
    file = clips / "apical" / "pat0_view.avi"
    file.write_bytes(file.read_bytes()[:3000])
    source = source_of(clips)
    samples = source.samples()
    assert len(samples) == 4
    options = {"image_size": 16, "cache_dir": tmp_path / "cache", "progress": False}
    with pytest.raises(InputError, match=r"^apical/pat0_view\.avi "):
        Store.open(source, samples, **options)
    store = Store.open(source, samples, **options, on_bad_file="skip")
    assert [name for name, _ in store.skipped] == ["apical/pat0_view.avi"]
    assert store.lengths.tolist() == [12, 10, 12]


def test_the_fingerprint_follows_the_content(clips):
    first = source_of(clips).fingerprint()
    assert source_of(clips).fingerprint() == first
    assert source_of(clips, channels=1).fingerprint() != first
    write_clip(clips / "apical" / "pat0_view.avi", noise(10)[::-1])
    assert source_of(clips).fingerprint() != first


def test_bad_settings_and_layouts_are_refused(clips, tmp_path):
    problems = problems_of(lambda: source_of(clips, fps=0, every=0, max_frames=0))
    assert len(problems) == 3
    assert any("does not exist" in text for text in problems_of(lambda: source_of(tmp_path / "none")))
    assert any(
        "exclude" in text for text in problems_of(lambda: source_of(clips, labels="a.csv", target="a", group="b"))
    )
    assert any("finds no patient" in text for text in problems_of(lambda: source_of(clips, group_pattern=r"(case\d)")))
    assert any("data.source.labels" in text for text in problems_of(lambda: source_of(clips, task="regression")))
    write_clip(clips / "loose.avi", noise(2))
    assert any("outside any class folder: loose.avi" in text for text in problems_of(lambda: source_of(clips)))
    (tmp_path / "empty").mkdir()
    assert any("no class folder with a clip" in text for text in problems_of(lambda: source_of(tmp_path / "empty")))
