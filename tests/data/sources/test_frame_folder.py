"""Folders of images as clips."""

import numpy as np
import pytest
from PIL import Image

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples
from vesalius.data.sources.frame_folder import FrameFolder
from vesalius.data.sources.natural_order import natural_order


@pytest.fixture
def folders(tmp_path):
    """Two clips per class, of 11 frames each; the brightness of a frame is its number."""
    for label in ("a", "b"):
        for clip in ("c1", "c2"):
            folder = tmp_path / label / clip
            folder.mkdir(parents=True)
            for number in range(11):
                Image.fromarray(np.full((4, 6), number, np.uint8)).save(folder / f"frame{number}.png")
            (folder / "note.txt").write_text("not a frame")
    return tmp_path


def source_of(root, **options):
    return FrameFolder(str(root), **({"pseudonyms": False} | options))


def problems_of(make):
    with pytest.raises(InputError) as caught:
        make().samples()
    return caught.value.problems


def test_numbers_in_names_count_by_their_value():
    names = ["10.png", "b2.png", "2.png", "1.png", "B10.png", "b1a.png"]
    assert natural_order(names) == ["1.png", "2.png", "10.png", "b1a.png", "b2.png", "B10.png"]


def test_a_folder_is_a_series_in_natural_order(folders):
    source = source_of(folders)
    samples = source.samples()
    assert source.series
    assert samples["sample_id"].tolist() == ["a/c1", "a/c2", "b/c1", "b/c2"]
    assert samples["target"].tolist() == [0, 0, 1, 1]
    assert "_times" not in samples
    check_samples(samples, source.task, source.classes, before_split=True)
    for row in samples.to_dict("records"):
        series = source.load(row)
        assert (series.shape, series.dtype) == ((11, 1, 4, 6), np.uint8)
        assert series[:, 0, 0, 0].tolist() == list(range(11))
        assert [file.name for file in source.files(row)] == [f"frame{number}.png" for number in range(11)]


def test_times_follow_from_the_frame_rate(folders):
    source = source_of(folders, frame_rate=5, every=3)
    row = source.samples().to_dict("records")[0]
    assert row["_times"] == pytest.approx([0, 0.6, 1.2, 1.8])
    assert source.load(row)[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    few = source_of(folders, max_frames=2)
    assert few.load(few.samples().iloc[0])[:, 0, 0, 0].tolist() == [0, 10]


def test_every_frame_can_be_an_image(folders):
    source = source_of(folders, unit="slice", channels=3)
    samples = source.samples()
    assert len(samples) == 44
    assert samples["sample_id"][12] == "a/c2_t001"
    assert samples["group_id"].nunique() == 4
    assert source.load(samples.iloc[12]).tolist() == np.full((3, 4, 6), 1).tolist()


def test_a_table_names_the_folders(folders):
    (folders / "labels.csv").write_text("clip,sick\na/c1,1\na/c2,0\nb/c1,1\nb/c2,0")
    source = source_of(folders, labels="labels.csv", key="clip", target="sick", group="none")
    assert source.samples()["target"].tolist() == [1, 0, 1, 0]


def test_the_fingerprint_follows_content_and_options(folders):
    first = source_of(folders).fingerprint()
    assert source_of(folders).fingerprint() == first
    assert len({first, *(source_of(folders, **{name: 2}).fingerprint() for name in ("every", "max_frames"))}) == 3
    Image.fromarray(np.full((4, 6), 99, np.uint8)).save(folders / "b/c2/frame3.png")
    assert source_of(folders).fingerprint() != first


def test_frames_that_differ_or_cannot_be_read_are_named(folders):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(folders / "a/c1/frame3.png")
    (folders / "a/c2/frame3.png").write_bytes(b"damaged")
    source = source_of(folders)
    first, second, *_ = source.samples().to_dict("records")
    with pytest.raises(InputError, match="a/c1 has frames of several shapes"):
        source.load(first)
    with pytest.raises(InputError, match=r"a/c2 \(frame 3\) cannot be read"):
        source.load(second)


def test_bad_settings_and_layouts_are_refused(folders):
    problems = problems_of(lambda: source_of(folders, frame_rate=0, every=0, max_frames=0))
    assert len(problems) == 3
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(folders / "a/loose.png")
    (problem,) = problems_of(lambda: source_of(folders))
    assert "a/loose.png" in problem
    assert "outside any clip folder" in problem
