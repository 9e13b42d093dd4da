"""Frames and their times come out of a clip as they went in; damaged clips are refused in one sentence."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesalius.config.errors import InputError
from vesalius.data.formats import video
from vesalius.data.formats.video import check_sampling, read_frames, read_timeline, select_frames

pytest.importorskip("av")
import av

from video_maker import blocks, noise, write_clip


def decoded(path, name="the clip"):
    timeline = read_timeline(path, name)
    return timeline, read_frames(path, timeline, name=name)


def refusal(path):
    with pytest.raises(InputError) as caught:
        decoded(path)
    (problem,) = caught.value.problems
    assert problem.startswith("the clip")
    assert str(path.parent) not in problem
    return problem


def as_given(frames):
    stacked = np.stack(frames)
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("ending", ["avi", "mkv", "mov"])
@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (1, "uint8"), (1, "uint16")])
def test_lossless_clips_come_out_to_the_bit(tmp_path, ending, channels, dtype):
    frames = noise(7, channels=channels, dtype=dtype)
    codec, pixels = ("png", None) if ending == "mov" else ("ffv1", None)
    if (codec, dtype) == ("png", "uint16"):
        pixels = "gray16be"
    timeline, got = decoded(write_clip(tmp_path / f"a.{ending}", frames, codec=codec, pixels=pixels))
    np.testing.assert_array_equal(got, as_given(frames))
    assert got.dtype == dtype
    np.testing.assert_allclose(timeline.times, np.arange(7) / 10, atol=1e-9)
    assert timeline.size == (24, 32)


LOSSY = {
    "h264.mp4": "libx264",
    "h264.mkv": "libx264",
    "h264.avi": "libx264",  # its stamps are in the order of decoding
    "mpeg4.mp4": "mpeg4",
    "mpeg4.avi": "mpeg4",
    "mpeg1.mpg": "mpeg1video",
    "mpeg2.mpeg": "mpeg2video",
    "vp9.webm": "libvpx-vp9",
    "wmv.wmv": "wmv2",
}


@pytest.mark.parametrize("name", LOSSY)
def test_frames_of_usual_clips_are_all_there_in_the_order_shown(tmp_path, name):
    frames, fps = blocks(14), 25 if "mpeg" in name else 10
    options = {"bf": "2"} if "mpeg" in name else {}
    codec = LOSSY[name]
    file = write_clip(tmp_path / name, frames, codec=codec, pixels="yuv420p", fps=fps, options=options)
    timeline, got = decoded(file)
    assert got.shape == (14, 3, 48, 64)
    np.testing.assert_allclose(timeline.times, np.arange(14) / fps, atol=2e-3)
    errors = np.abs(got[:, None].astype(int) - as_given(frames)).mean(axis=(2, 3, 4))
    assert (errors.argmin(axis=1) == np.arange(14)).all()  # each frame is most like the one that was given


def test_irregular_times_are_kept(tmp_path):
    stamps = [0, 40, 50, 200, 1000, 1001, 3000]
    for name in ("a.mkv", "a.mp4"):
        codec = "ffv1" if name == "a.mkv" else "libx264"
        pixels = None if name == "a.mkv" else "yuv420p"
        file = write_clip(tmp_path / name, blocks(7), codec=codec, pixels=pixels, fps=1000, milliseconds=stamps)
        timeline, got = decoded(file)
        np.testing.assert_allclose(timeline.times, np.array(stamps) / 1000, atol=1e-6)
        assert len(got) == 7


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phone_held_on_its_side(tmp_path, degrees):
    frames = noise(2)
    file = write_clip(tmp_path / "a.mov", frames, codec="png", rotation=degrees)
    _, got = decoded(file)
    expected = [np.array(Image.fromarray(frame).rotate(degrees, expand=True)) for frame in frames]
    np.testing.assert_array_equal(got, as_given(expected))


def test_a_gif_is_as_pillow_shows_it(tmp_path):
    frames = [Image.fromarray(frame).quantize(64) for frame in blocks(5)]
    options = {"save_all": True, "append_images": frames[1:], "duration": [100, 50, 300, 100, 100], "loop": 0}
    frames[0].save(tmp_path / "a.gif", **options)
    timeline, got = decoded(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        expected = []
        for number in range(gif.n_frames):
            gif.seek(number)
            expected.append(np.array(gif.convert("RGB")))
    np.testing.assert_array_equal(got, as_given(expected))
    np.testing.assert_allclose(timeline.times, [0, 0.1, 0.15, 0.45, 0.55])


def test_what_is_transparent_lies_over_black(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 4)).astype(np.uint8)
    rgba[..., 3] = np.array([0, 51, 255, 255])[np.arange(8) % 4]
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.height, stream.width, stream.pix_fmt = 8, 8, "rgba"
        for frame in rgba:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgba")))
        container.mux(stream.encode())
    expected = np.rint(rgba[..., :3] * (rgba[..., 3:] / 255)).astype(np.uint8)
    np.testing.assert_array_equal(decoded(tmp_path / "a.mov")[1], as_given(list(expected)))


def test_deep_colour_has_sixteen_bits(tmp_path):
    frames = noise(3, dtype="uint16")
    _, got = decoded(write_clip(tmp_path / "a.mov", frames, codec="png", pixels="rgb48be"))
    np.testing.assert_array_equal(got, as_given(frames))


def test_a_stream_without_a_container_has_the_times_of_its_rate(tmp_path):
    options = {"codec": "mpeg1video", "pixels": "yuv420p", "fps": 25, "options": {"bf": "2"}}
    file = write_clip(tmp_path / "a.mpg", blocks(9), container="mpeg1video", **options)
    timeline, got = decoded(file)
    np.testing.assert_allclose(timeline.times, np.arange(9) / 25, atol=1e-6)
    errors = np.abs(got[:, None].astype(int) - as_given(blocks(9))).mean(axis=(2, 3, 4))
    assert (errors.argmin(axis=1) == np.arange(9)).all()


def test_some_frames_of_a_clip(tmp_path):
    frames = blocks(9)
    file = write_clip(tmp_path / "a.mp4", frames, codec="libx264", pixels="yuv420p")
    timeline, whole = decoded(file)
    np.testing.assert_array_equal(read_frames(file, timeline, [0, 3, 8]), whole[[0, 3, 8]])


@given(
    steps=st.lists(st.floats(0.001, 5), max_size=60),
    fps=st.one_of(st.none(), st.floats(0.1, 100)),
    every=st.integers(1, 9),
    most=st.one_of(st.none(), st.integers(1, 40)),
)
def test_the_choice_of_frames(steps, fps, every, most):
    times = np.concatenate([[0.0], np.cumsum(steps)])
    kept = select_frames(times.tolist(), fps=fps, every=every, max_frames=most)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(range(len(times)))
    assert 0 < len(kept) <= (most or len(times))
    if most != 1:
        assert kept[0] == 0
    if fps is not None:
        assert len(kept) <= times[-1] * fps + 1 + 1e-6
        # by brute force: what is nearest to some tick, each once
        ticks = np.arange(int(times[-1] * fps + 1e-6) + 1) / fps
        nearest = {int(np.abs(times - tick).argmin()) for tick in ticks}
        assert len(select_frames(times.tolist(), fps=fps)) == len(nearest)
    assert select_frames(times.tolist()) == list(range(len(times)))


def test_a_clip_slower_than_the_rate_is_kept_whole():
    times = [number / 10 for number in range(30)]
    assert select_frames(times, fps=10) == list(range(30))
    assert select_frames(times, fps=25) == list(range(30))
    assert select_frames(times, fps=5) == list(range(0, 30, 2))
    assert select_frames(times, every=4) == list(range(0, 30, 4))
    assert select_frames(times, max_frames=3) == [0, 14, 29]
    assert select_frames(times, max_frames=1) == [14]
    assert len(check_sampling(0, 0, 0, "o")) == 3


@pytest.mark.parametrize("part", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov", "h.mp4", "v.webm", "g.gif"])
def test_a_clip_cut_short_is_refused(tmp_path, name, part):
    codec, pixels = {"h": ("libx264", "yuv420p"), "v": ("libvpx-vp9", "yuv420p"), "g": ("gif", "rgb8")}.get(
        name[0], ("png" if name.endswith("mov") else "ffv1", None)
    )
    content = write_clip(tmp_path / name, blocks(14), codec=codec, pixels=pixels).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * part)])
    refusal(tmp_path / name)


def test_a_film_whose_index_comes_first_is_refused_when_cut_short(tmp_path):
    file = write_clip(tmp_path / "whole.mp4", blocks(40), codec="mpeg4", pixels="yuv420p")
    with (
        av.open(str(file)) as old,
        av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert len(decoded(tmp_path / "a.mp4")[1]) == 40
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) * 3 // 4])
    refusal(tmp_path / "a.mp4")


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("not at all")
    refusal(tmp_path / "text.mp4")
    refusal(tmp_path / "none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    refusal(tmp_path / "folder.mp4")


def test_a_playlist_cannot_make_us_read_other_files(tmp_path):
    secret = write_clip(tmp_path / "secret.mkv", blocks(2))
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    refusal(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret.name}\n#EXT-X-ENDLIST\n")
    refusal(tmp_path / "b.mp4")


def test_clips_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    file = write_clip(tmp_path / "a.mkv", noise(10))
    monkeypatch.setattr(video, "MAX_BYTES", 10 * 24 * 32 * 3 - 1)
    assert "max_frames" in refusal(file)
    assert len(read_frames(file, read_timeline(file), range(9))) == 9
    monkeypatch.setattr(video, "MAX_PIXELS", 24 * 32 - 1)
    assert "32×24 pixels" in refusal(file)


def test_damage_never_gives_a_traceback(tmp_path):
    random, outcomes = np.random.default_rng(0), []
    for name, codec in (("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4"), ("a.gif", "gif")):
        pixels = "rgb8" if codec == "gif" else "yuv420p"
        content = write_clip(tmp_path / name, blocks(6), codec=codec, pixels=pixels).read_bytes()
        for _ in range(25):
            damaged = bytearray(content)
            for place in random.integers(0, len(content), 20):
                damaged[place] = random.integers(0, 256)
            (tmp_path / name).write_bytes(bytes(damaged))
            try:
                outcomes.append(decoded(tmp_path / name)[1].shape[0] > 0)
            except InputError as error:
                outcomes.append(len(error.problems) == 1)
    assert all(outcomes)


def test_without_pyav_the_line_to_type_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'vesalius\[medical\]'"):
        read_timeline(write_nothing(tmp_path))


def write_nothing(folder):
    (folder / "a.mp4").write_bytes(b"x")
    return folder / "a.mp4"
