"""Views of a series take away what they say, and nothing else."""

import pytest
import torch

from vesalius.data.datamodules.series_ablations import dropped_frames, first_frames, one_frame, shuffled_frames

LENGTHS = [5, 1, 3, 8]


@pytest.fixture
def batch():
    """Frame t of series i holds 100 i + t; its time is 10 t."""
    length = torch.tensor(LENGTHS)
    frame = torch.arange(8).expand(4, -1)
    mask = frame < length[:, None]
    value = torch.where(mask, 100 * torch.arange(4)[:, None] + frame, -1)
    image = value.to(torch.int32)[:, :, None, None, None].expand(4, 8, 1, 2, 2)
    time = 10.0 * frame.clamp(max=length[:, None] - 1)
    index = torch.arange(4) + 7
    return {"image": image, "frame": value, "mask": mask, "time": time, "length": length, "index": index}


def frames(batch, row):
    return (batch["image"][row, : batch["length"][row], 0, 0, 0] % 100).tolist()


def times(batch, row):
    return batch["time"][row, : batch["length"][row]].tolist()


def consistent(batch):
    width = batch["image"].shape[1]
    assert batch["mask"].shape == batch["time"].shape == (4, width)
    assert batch["mask"].sum(1).tolist() == batch["length"].tolist()
    assert (batch["image"][:, :, 0, 0, 0] // 100 == torch.arange(4)[:, None])[batch["mask"]].all()
    assert (batch["image"][:, :, 0, 0, 0] == batch["frame"])[batch["mask"]].all()
    return True


def test_first_frames_are_the_first(batch):
    early = first_frames(batch, 3)
    assert consistent(early)
    assert [frames(early, row) for row in range(4)] == [[0, 1, 2], [0], [0, 1, 2], [0, 1, 2]]
    assert times(early, 3) == [0, 10, 20]


@pytest.mark.parametrize(("part", "expected"), [(0, [0, 0, 0, 0]), (1, [4, 0, 2, 7])])
def test_one_frame_is_where_it_was_asked_for(batch, part, expected):
    single = one_frame(batch, part)
    assert consistent(single)
    assert [frames(single, row)[0] for row in range(4)] == expected
    assert (single["time"] == 0).all()


def test_a_shuffled_series_has_the_same_frames_and_times(batch):
    shuffled = shuffled_frames(batch, 0)
    assert consistent(shuffled)
    for row, length in enumerate(LENGTHS):
        assert sorted(frames(shuffled, row)) == list(range(length))
        assert times(shuffled, row) == times(batch, row)
    assert any(frames(shuffled, row) != frames(batch, row) for row in (0, 3))


@pytest.mark.parametrize("view", [shuffled_frames, lambda batch, seed: dropped_frames(batch, 0.5, seed)])
def test_a_draw_depends_only_on_the_sample(batch, view):
    whole = view(batch, 3)
    for row in range(4):
        single = view({name: tensor[row : row + 1] for name, tensor in batch.items()}, 3)
        assert frames(single, 0) == frames(whole, row)
    assert any(frames(view(batch, 4), row) != frames(whole, row) for row in (0, 3))


def test_dropped_frames_leave_the_others_in_order_at_their_times(batch):
    fewer = dropped_frames(batch, 0.5, 1)
    assert consistent(fewer)
    assert fewer["length"].tolist() == [3, 1, 1, 4]  # half of five rounds to two, of three to two
    for row in range(4):
        kept = frames(fewer, row)
        assert kept == sorted(set(kept))
        assert times(fewer, row) == [10.0 * (frame - kept[0]) for frame in kept]
