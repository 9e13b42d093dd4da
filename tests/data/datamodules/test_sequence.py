"""The datamodule of image series, and the frames that it deals out."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.augment import Augment, Flip
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.datamodules.sequence import SequenceData
from vesalius.data.sampling.frames import sample_frames
from vesalius.data.sources.base import Source

LENGTHS = 1 + np.arange(60) * 7 % 11
FRAMES = int(LENGTHS.max())


class Counted(Source):
    """Frame t of series i holds i, t at two columns; the frames come 2, 3, 4, ... seconds after each other."""

    task, classes, series = "binary", ("no", "yes"), True

    def __init__(self, *, times: bool = True, task: str = "binary") -> None:
        self.times, self.task = times, task
        if task == "regression":
            self.classes = ("a", "b")

    def samples(self):
        number = np.arange(len(LENGTHS))
        table = pd.DataFrame({"sample_id": number.astype(str), "group_id": (number // 2).astype(str), "split": None})
        if self.task == "regression":
            table["target/a"], table["target/b"] = number * 0.5, -1.0 * number
        else:
            table["target"] = (number // 2) % 2
        if self.times:
            table["_times"] = [seconds(length).tolist() for length in LENGTHS]
        return table

    def load(self, row):
        number = int(row["sample_id"])
        frames = np.zeros((LENGTHS[number], 1, 3, 3), np.uint8)
        frames[..., 0] = number
        frames[..., 1] = np.arange(LENGTHS[number])[:, None, None]
        return frames

    def fingerprint(self):
        return "counted series"


def seconds(length):
    return np.concatenate([[0], np.cumsum(2 + np.arange(length - 1))]).astype(float)


@pytest.fixture
def make(tmp_path):
    def build(source=None, **options):
        data = SequenceData(source or Counted(), cache_dir=str(tmp_path), batch_size=7, **options)
        data.setup()
        return data

    return build


def check(batch, seconds=seconds):
    """Everything in a batch fits together; the frames' numbers within their series, row by row."""
    rows, width = batch["mask"].shape
    assert batch["image"].shape == (rows, width, 1, 3, 3)
    assert batch["time"].dtype == torch.float32
    assert width == int(batch["length"].max())
    assert torch.equal(batch["mask"], torch.arange(width) < batch["length"][:, None])
    chosen = []
    for row in range(rows):
        index, length = int(batch["index"][row]), int(batch["length"][row])
        assert (batch["image"][row, ..., 0] == index).all()
        frames = batch["image"][row, :, 0, 0, 1].long()
        assert (frames[:length].diff() > 0).all()
        assert (frames[length:] == frames[length - 1]).all()
        time = seconds(LENGTHS[index])[frames.numpy()]
        np.testing.assert_allclose(batch["time"][row], time - time[0])
        chosen.append(frames[:length].tolist())
    return chosen


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_series_of_a_split_comes_once_and_whole(make, split):
    data = make()
    batches = epoch(data) if split == "train" else list(data.loader(split))
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(index.tolist()) == data.rows(split).tolist()
    for batch in batches:
        assert check(batch) == [list(range(LENGTHS[row])) for row in batch["index"]]
        assert batch["target"].tolist() == (batch["index"] // 2 % 2).tolist()


def test_without_times_frames_are_counted(make):
    for batch in make(Counted(times=False)).loader("test"):
        check(batch, np.arange)


@pytest.mark.parametrize("sampling", ["random", "uniform", "first"])
def test_training_sees_so_many_frames_and_validation_all(make, sampling):
    data = make(frames=4, frame_sampling=sampling)
    for batch in epoch(data):
        chosen = check(batch)
        assert [len(frames) for frames in chosen] == [min(4, LENGTHS[row]) for row in batch["index"]]
        if sampling == "first":
            assert all(frames == list(range(len(frames))) for frames in chosen)
    for batch in data.loader("val"):
        assert check(batch) == [list(range(LENGTHS[row])) for row in batch["index"]]


def test_frames_are_a_function_of_seed_epoch_and_series(make):
    def frames(data, number):
        return {
            int(row): chosen
            for batch in epoch(data, number)
            for row, chosen in zip(batch["index"], check(batch), strict=True)
        }

    first, again = make(frames=4), make(frames=4)
    again.batch_size = 3
    assert frames(first, 0) == frames(again, 0)
    assert frames(first, 0) != frames(first, 1)
    # Another seed splits otherwise: only series that train under both can be compared.
    before, other = frames(first, 0), frames(make(frames=4, seed=1), 0)
    assert any(before[row] != other[row] for row in before.keys() & other.keys())


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    count=st.integers(1, 45),
    sampling=st.sampled_from(["random", "uniform", "first"]),
    seed=st.integers(0, 9),
)
def test_sampled_frames_are_ascending_and_within_their_series(lengths, count, sampling, seed):
    length = torch.tensor(lengths)
    frames, chosen = sample_frames(length, torch.arange(len(lengths)), count, sampling, seed=seed, epoch=0)
    assert chosen.tolist() == [min(count, each) for each in lengths]
    assert frames.shape == (len(lengths), max(chosen.tolist()))
    for row, number in enumerate(chosen.tolist()):
        real = frames[row, :number]
        assert (real.diff() > 0).all()
        assert int(real[0]) >= 0
        assert int(real[-1]) < lengths[row]
        if number == lengths[row]:
            assert real.tolist() == list(range(number))


def test_a_series_drawn_again_in_an_epoch_shows_other_frames(make):
    data = make(frames=4, steps_per_epoch=60)
    drawn = {}
    for batch in epoch(data, 0):
        for row, chosen in zip(batch["index"].tolist(), check(batch), strict=True):
            drawn.setdefault(row, []).append(tuple(chosen))
    # Of the C(n, 4) subsets as many as independent draws would show, not one.
    for row, subsets in drawn.items():
        possible = math.comb(LENGTHS[row], min(4, LENGTHS[row]))
        expected = possible * (1 - (1 - 1 / possible) ** len(subsets))
        assert len(set(subsets)) >= max(min(possible, 2), expected - 4 * expected**0.5)


@pytest.mark.parametrize("sampling", ["random", "uniform"])
def test_every_frame_is_equally_often_drawn(sampling):
    index = torch.arange(20_000)
    length = torch.full_like(index, 10)
    frames, _ = sample_frames(length, index, 4, sampling, seed=0, epoch=0)
    share = torch.bincount(frames.flatten(), minlength=10) / len(index)
    assert (share - 0.4).abs().max() < 4 * (0.4 * 0.6 / len(index)) ** 0.5
    if sampling == "uniform":
        assert set(frames.diff(dim=1).unique().tolist()) == {2, 3}


def test_facts_are_those_of_series(make):
    data = make()
    train = data.rows("train")
    gaps = np.concatenate([np.diff(seconds(LENGTHS[row])) for row in train])
    assert data.facts.sequence_length == FRAMES
    assert data.facts.time_step == np.sort(gaps)[(len(gaps) - 1) // 2]
    assert make(Counted(times=False)).facts.time_step is None
    # Each series counts alike, however long.
    each = torch.stack([torch.tensor([row, (LENGTHS[row] - 1) / 2, 0.0]).mean() for row in train])
    assert data.facts.mean[0] == pytest.approx(float(each.mean()) / 255, rel=2e-2)


def test_continuous_targets_are_batched(make):
    data = make(Counted(task="regression"))
    for batch in data.loader("test"):
        assert batch["target"].dtype == torch.float32
        assert torch.equal(batch["target"], torch.stack([batch["index"] * 0.5, batch["index"] * -1.0], dim=1))
    train = data.rows("train").double().numpy()
    np.testing.assert_allclose(data.facts.target_mean, [train.mean() / 2, -train.mean()], rtol=1e-5)
    np.testing.assert_allclose(data.facts.target_std, [train.std() / 2, train.std()], rtol=1e-5)


def test_long_series_are_judged_fewer_at_a_time(make, monkeypatch):
    monkeypatch.setattr("vesalius.data.datamodules.sequence.EVAL_VALUES", 3 * FRAMES * 9)
    data = make()
    sizes = [len(batch["index"]) for batch in data.loader("test")]
    assert max(sizes) == 3
    assert sum(sizes) == len(data.rows("test"))


def test_all_frames_of_a_series_are_mirrored_together(make):
    data = make(augment=Augment({"flip": Flip(horizontal=0.5)}))
    data.trainer = type("Trainer", (), {"training": True, "current_epoch": 0})()
    batch = next(iter(data.loader("test")))
    image = data.on_after_batch_transfer(batch, 0)["image"]
    data.trainer = None
    mirrored = (image == batch["image"].flip(-1)).flatten(1).all(1)
    same = (image == batch["image"]).flatten(1).all(1)
    assert (mirrored | same).all()
    assert mirrored.any()
    assert same.any()


def test_cheap_models_are_given_a_row_a_series(make):
    data = make()
    inputs = data.baseline_inputs(data.rows("val"))
    assert {"pixels", "mean_over_time", "curve_statistics"} == set(inputs)
    assert {len(values) for values in inputs.values()} == {len(data.rows("val"))}
    assert inputs["pixels"].ndim == 4


def test_single_images_and_series_each_have_their_own_family(tmp_path):
    class Images(Counted):
        series = False

    with pytest.raises(InputError, match=r"model=cnn.*unit=time_series"):
        SequenceData(Images(), cache_dir=str(tmp_path))
    with pytest.raises(InputError, match="model=lstm"):
        ClassificationData(Counted(), cache_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"data\.frames=0"):
        SequenceData(Counted(), frames=0)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (lambda n: list(range(n + 1)), "another number of times"),
        (lambda n: [1.0] * n, "do not rise"),
        (lambda n: [*range(n - 1), np.inf], "not finite numbers"),
        (lambda n: [np.nan, *range(1, n)], "not finite numbers"),
        (lambda n: [k * 1e39 for k in range(n)], "32-bit floats"),
        (lambda n: [0.0, *(1e9 + k for k in range(1, n))], "32-bit floats"),
    ],
)
def test_times_that_cannot_be_are_refused(make, times, message):
    class Wrong(Counted):
        def samples(self):
            return super().samples().assign(_times=[times(int(length)) for length in LENGTHS])

    with pytest.raises(InputError, match=message) as caught:
        make(Wrong())
    assert len(caught.value.problems) == 1  # each series is named once
    assert "series have" in str(caught.value)


def test_what_is_wrong_with_times_is_said_of_each_series_at_once(make):
    class Wrong(Counted):
        def samples(self):
            table = super().samples()
            table.at[1, "_times"] = [np.inf] * len(table["_times"][1])
            table.at[2, "_times"] = [3.0] * len(table["_times"][2])
            table.at[3, "_times"] = [0.0, *(1e9 + k for k in range(len(table["_times"][3]) - 1))]
            return table

    with pytest.raises(InputError) as caught:
        make(Wrong())
    named = [re.search(r"^1 series have times that .*: (\d);", problem)[1] for problem in caught.value.problems]
    assert named == ["1", "2", "3"]


def test_times_may_count_from_any_moment(make):
    class Late(Counted):
        def samples(self):
            table = super().samples()
            table["_times"] = [[1.7e9 + moment for moment in times] for times in table["_times"]]
            return table

    check(next(iter(make(Late()).loader("test"))))


def test_where_some_series_have_no_times_frames_are_counted_in_all(make, caplog):
    class Mixed(Counted):
        def samples(self):
            table = super().samples()
            table["_times"] = [[] if row == 3 else times for row, times in enumerate(table["_times"])]
            return table

    data = make(Mixed())
    assert "1 of 60 series have no times" in caplog.text
    assert data.facts.time_step is None
    check(next(iter(data.loader("test"))), np.arange)


def test_a_model_that_learned_seconds_is_not_judged_on_counted_frames(make):
    timed, counted = make(Counted()), make(Counted(times=False))
    assert timed.incompatibilities(timed.facts) == counted.incompatibilities(counted.facts) == []
    assert "the frames have no times" in counted.incompatibilities(timed.facts)[0]
    assert "the frames have seconds" in timed.incompatibilities(counted.facts)[0]


def test_unlabelled_series_can_be_tested_on_but_not_learned_from(tmp_path):
    source = Counted()
    source.task, source.classes = "unlabelled", ()
    labelled = source.samples()
    source.samples = lambda: labelled.drop(columns="target")
    with pytest.raises(InputError, match="there are no labels"):
        SequenceData(source, cache_dir=str(tmp_path)).setup()
    data = SequenceData(source, cache_dir=str(tmp_path))
    data.setup("test")
    index = torch.cat([batch["index"] for batch in data.loader("test")])
    assert index.tolist() == list(range(len(LENGTHS)))
